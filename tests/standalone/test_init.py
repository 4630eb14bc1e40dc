"""`perceptron up` refuses a data directory whose Redis lost its data, until `perceptron init` accepts the loss."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis import Redis

from cli.init import init
from cli.main import perceptron
from standalone import DataLostError, EmbeddedServer, StandaloneError
from storage import keys
from storage.blobs import BlobStore
from tests.free_port import free_port


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory that has been used."""
    assert init(tmp_path, None, is_loss_accepted=False) == "Redis and the blob store belong together."
    return tmp_path


def identities(data_dir: Path) -> tuple[object, bytes]:
    """The store identities in the embedded server and in the blob store."""
    with EmbeddedServer(data_dir) as server, Redis.from_url(server.url) as redis:
        return redis.get(keys.STORE_IDENTITY), (data_dir / "blobs" / keys.STORE_IDENTITY_MARK).read_bytes()


def test_both_stores_keep_their_first_identity(data_dir: Path) -> None:
    first = identities(data_dir)
    init(data_dir, None, is_loss_accepted=True)
    assert identities(data_dir) == first
    assert first[0] == first[1]


def test_up_refuses_a_server_that_lost_its_data(program, data_dir: Path) -> None:
    shutil.rmtree(data_dir / "redis")
    running = program("-m", "cli", "up", "--port", str(free_port()), "--data-dir", str(data_dir))
    assert running.wait() == 1
    assert (
        f"{data_dir / 'redis'} has no data, though {data_dir / 'blobs' / keys.STORE_IDENTITY_MARK} says"
        in running.stderr
    )
    assert "perceptron init --accept-loss" in running.stderr
    assert not (data_dir / "redis").exists()  # a started server would have made an empty one


def test_a_loss_is_refused_until_it_is_accepted(data_dir: Path) -> None:
    shutil.rmtree(data_dir / "redis")
    with pytest.raises(DataLostError, match="Redis was emptied or replaced"):
        init(data_dir, None, is_loss_accepted=False)
    answer = CliRunner().invoke(perceptron, ["init", "--accept-loss", "--data-dir", str(data_dir)])
    assert answer.output == "The loss is accepted: Redis and the blob store are used as they are now.\n"
    in_redis, beside_the_blobs = identities(data_dir)
    assert in_redis == beside_the_blobs
    assert init(data_dir, None, is_loss_accepted=False) == "Redis and the blob store belong together."


def test_another_server_is_refused_until_the_loss_is_accepted(
    data_dir: Path, server: EmbeddedServer, redis: Redis
) -> None:
    redis.set(keys.STORE_IDENTITY, "theirs")
    with pytest.raises(DataLostError, match="has store identity theirs"):
        init(data_dir, server.url, is_loss_accepted=False)
    init(data_dir, server.url, is_loss_accepted=True)
    assert BlobStore((data_dir / "blobs").as_uri()).read_mark(keys.STORE_IDENTITY_MARK) == b"theirs"


def test_init_without_a_server_is_an_error(data_dir: Path) -> None:
    with pytest.raises(StandaloneError, match="a store cannot be used now"):
        init(data_dir, "redis://127.0.0.1:1", is_loss_accepted=True)


@pytest.mark.parametrize("url", ["gs://bucket/blobs", "nothing://blobs"])
@pytest.mark.parametrize("verb", ["up", "init", "serve", "worker"])
def test_a_blob_url_that_nothing_installed_can_reach_is_one_line(program, verb: str, url: str, tmp_path: Path) -> None:
    """C6. On 15a4f66 it was a traceback."""
    env = {"BLOB_URL": url, "DATA_DIR": str(tmp_path)}
    if verb in ("serve", "worker"):
        env["REDIS_URL"] = "redis://127.0.0.1:1"
    running = program("-m", "cli", verb, env=env)
    assert running.wait() in (1, 2)
    (line,) = running.stderr.splitlines()
    assert f"BLOB_URL begins with {url[:2]}" in line and "which nothing that is installed can reach" in line


@pytest.mark.parametrize(
    "url",
    [
        "redis://:se/cret@127.0.0.1:1/0",
        "redis://:se#cret@127.0.0.1:1/0",
        "redis://:12345/cret@127.0.0.1:1/0",  # where 12345 could be a port
        "redis://:12345?cret@127.0.0.1:1/0",
        "unix://:se/cret@/tmp/socket",
        "foo://:secret@x",
    ],
)
@pytest.mark.parametrize("verb", ["up", "init", "serve", "worker"])
def test_a_redis_url_that_cannot_be_read_is_one_line_without_a_part_of_its_password(
    program, verb: str, url: str, tmp_path: Path
) -> None:
    running = program("-m", "cli", verb, env={"REDIS_URL": url, "DATA_DIR": str(tmp_path), "PORT": str(free_port())})
    assert running.wait() in (1, 2, 4)  # 4 is that of gunicorn
    log = running.stdout + running.stderr
    (line,) = [line for line in log.splitlines() if "REDIS_URL" in line]
    assert "in its password must be percent-encoded" in line
    for part in ("'se'", "cret", "12345", "Traceback"):
        assert part not in log.replace(str(tmp_path), "")
