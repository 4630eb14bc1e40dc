"""On a full disk the embedded server refuses new data, keeps room for the rest, and does not end."""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from standalone import EmbeddedServer
from standalone.disk_guard import LOW_BYTES, RESERVE_BYTES, DiskGuard


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path) as server:
        yield server


@pytest.fixture
def connection(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with closing(redis.Redis.from_url(server.url)) as connection:
        yield connection


def increment(server: EmbeddedServer) -> os.stat_result:
    return next((server.directory / "appendonlydir").glob("*.incr.aof")).stat()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="reserves room on Linux")
def test_there_is_room_behind_the_end_of_the_append_only_file(server, connection):
    guard = DiskGuard(server.directory, connection)
    for _ in range(3):  # the room moves on as the file grows
        connection.set("key", "x" * RESERVE_BYTES)
        guard.tend()
        file = increment(server)
        assert file.st_blocks * 512 >= file.st_size + RESERVE_BYTES // 2
    os.kill(server.pid, 9)
    server.kill()
    server.start()
    assert connection.strlen("key") == RESERVE_BYTES  # the room does not make the file longer


def test_a_nearly_full_disk_stops_new_data_and_nothing_else(server, connection, monkeypatch, capfd):
    connection.hset("job", "status", "running")
    guard = DiskGuard(server.directory, connection)
    usage = shutil.disk_usage(server.directory)
    for free_bytes, is_refused in ((LOW_BYTES - 1, True), (LOW_BYTES + 1, True), (2 * LOW_BYTES, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free_bytes: usage._replace(free=free))
        guard.tend()
        if is_refused:
            with pytest.raises(redis.OutOfMemoryError):
                connection.set("new", "data")
        else:
            connection.set("new", "data")
        assert connection.hdel("job", "field") == 0
        assert connection.eval("redis.call('HDEL', 'job', ''); return redis.call('HSET', 'job', 'a', 1)", 1, "job") <= 1
        assert connection.config_get("appendfsync") == {"appendfsync": "always"}
    said = capfd.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in said] == ["no new jobs until there are 80 MB", "new jobs are accepted"]


def test_a_server_that_cannot_have_more_room_does_not_end_when_it_cannot_write(server, connection, monkeypatch):
    guard = DiskGuard(server.directory, connection)
    monkeypatch.setattr("standalone.disk_guard._allocate", lambda *_: False)
    connection.set("key", "value")
    guard.tend()
    assert connection.config_get("appendfsync") == {"appendfsync": "everysec"}
    assert connection.config_get("maxmemory") == {"maxmemory": "1"}
