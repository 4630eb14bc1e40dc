"""Redis, the blob store, whether they belong together, and the workers that are registered in Redis."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from redis import Redis

from cli.doctor.access import key_findings
from cli.doctor.findings import Finding, ok, problem, run, size, warning
from storage import keys
from storage.access.store import AccessKeyStore
from storage.availability import explain
from storage.blobs import BlobStore
from storage.connection import connect
from storage.errors import BlobStoreUnavailableError, BlobUrlError, MissingCommandsError, RedisUrlError
from storage.needed_commands import check_commands
from storage.queue import OLDEST_SERVER, TrainingQueue

AREA, BLOBS, WORKERS = "redis", "blob store", "workers"

_CLOCK_MAY_DIFFER_S = 5.0
_FAIR_FREE_BYTES = 1_000_000_000
_SILENT_S = 60.0


def check_stores(redis_url: str, blob_url: str) -> Iterator[Finding]:
    """Check a Redis, the blob store beside it, and the workers."""
    try:
        connection = connect(redis_url, timeout_s=5.0, n_retries=0)
    except RedisUrlError as error:
        yield problem(AREA, "address", str(error), "export REDIS_URL=redis://127.0.0.1:6379/0")
        return
    with connection:
        try:
            connection.ping()
        except (redis.RedisError, OSError) as error:
            yield problem(AREA, "answers", explain(error), _remedy_of(error))
            yield from run(BLOBS, [partial(_blobs, None, blob_url)])
            return
        doctor = _RedisDoctor(connection)
        yield from run(
            AREA, [doctor.server, doctor.commands, doctor.persistence, doctor.memory, doctor.clock, doctor.access]
        )
        yield from run(BLOBS, [partial(_blobs, connection, blob_url)])
        yield from run(WORKERS, [partial(_workers, connection)])


def _remedy_of(error: Exception) -> str:
    match error:
        case redis.AuthenticationError():
            return "export REDIS_URL=redis://USER:PASSWORD@HOST:6379/0"
        case redis.BusyLoadingError():
            return "wait until it has loaded its data"
    return "start it, for example with 'redis-server --appendonly yes --appendfsync always', or correct REDIS_URL"


class _RedisDoctor:
    """Checks a Redis that answers."""

    def __init__(self, connection: Redis) -> None:
        self._redis: Any = connection

    def _info(self, section: str) -> Mapping[str, Any] | None:
        """Return a section of INFO; None if it is denied."""
        try:
            found: Mapping[str, Any] = self._redis.info(section)
            return found
        except redis.ResponseError:
            return None

    def _config(self, name: str) -> str | None:
        """Return a setting; None if CONFIG is denied, as managed Redis does."""
        try:
            found: Mapping[str, str] = self._redis.config_get(name)
        except redis.ResponseError:
            return None
        return found.get(name)

    def server(self) -> Iterator[Finding]:
        info = self._info("server")
        if info is None:
            yield warning(AREA, "version", "INFO is denied", "allow INFO: restarts of Redis are seen by it")
            return
        is_valkey = info.get("server_name") == "valkey"
        text = str(info.get("valkey_version" if is_valkey else "redis_version", "?"))
        detail = f"{'Valkey' if is_valkey else 'Redis'} {text}, up for {int(info.get('uptime_in_seconds', 0))} s"
        number = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
        if number < OLDEST_SERVER[:2]:
            yield problem(AREA, "version", detail, "upgrade to Redis 6.2 or newer, or to Valkey")
        elif info.get("redis_mode") == "cluster":
            yield problem(AREA, "version", f"{detail}, in cluster mode", "use a Redis that is not in cluster mode")
        else:
            yield ok(AREA, "version", detail)

    def commands(self) -> Iterator[Finding]:
        try:
            check_commands(self._redis)
        except MissingCommandsError as error:
            remedy = "allow them: docs/operations.md, 'Commands', lists all that are needed"
            yield problem(AREA, "commands", str(error), remedy)
        else:
            yield ok(AREA, "commands", "all that are needed are there and allowed")

    def persistence(self) -> Iterator[Finding]:
        info, fsync = self._info("persistence"), self._config("appendfsync")
        if info is None:
            yield warning(AREA, "persistence", "INFO is denied", "see to it that the append-only file is on")
            return
        if not info.get("aof_enabled"):
            yield problem(
                AREA, "persistence", "off: a restart of Redis loses jobs and models",
                "redis-cli CONFIG SET appendonly yes appendfsync always; redis-cli CONFIG REWRITE",
            )  # fmt: skip
        elif info.get("aof_last_write_status", "ok") != "ok":
            yield problem(AREA, "persistence", "the last write to the disk failed", "make room on the disk of Redis")
        elif fsync is None:
            yield warning(
                AREA, "persistence", "append-only file; CONFIG is denied, so how often it is synced is not known",
                "see to it that appendfsync is always",
            )  # fmt: skip
        elif fsync != "always":
            detail = f"append-only file, appendfsync {fsync}: a power cut may lose what was acknowledged"
            remedy = "redis-cli CONFIG SET appendfsync always; redis-cli CONFIG REWRITE"
            yield warning(AREA, "persistence", detail, remedy)
        else:
            yield ok(AREA, "persistence", "append-only file, appendfsync always")

    def memory(self) -> Iterator[Finding]:
        info = self._info("memory")
        if info is None:
            yield warning(AREA, "memory", "INFO is denied", "see to it that maxmemory-policy is noeviction")
            return
        policy, most, used = str(info.get("maxmemory_policy")), int(info.get("maxmemory", 0)), int(info["used_memory"])
        if policy != "noeviction":
            remedy = "redis-cli CONFIG SET maxmemory-policy noeviction; redis-cli CONFIG REWRITE"
            detail = f"{policy}: jobs and models are dropped when memory runs out"
            yield problem(AREA, "maxmemory-policy", detail, remedy)
        else:
            yield ok(AREA, "maxmemory-policy", policy)
        limit = size(most) if most else "no limit"
        detail = f"{size(used)} used, {limit}"
        if 0 < most <= 1.05 * used:
            more = f"redis-cli CONFIG SET maxmemory {2 * most}; redis-cli CONFIG REWRITE"
            yield problem(AREA, "memory", f"{detail}: full, so no job is accepted", more)
        elif 0 < most < 1.25 * used:
            more = f"redis-cli CONFIG SET maxmemory {2 * most}; redis-cli CONFIG REWRITE"
            yield warning(AREA, "memory", detail, more)
        else:
            yield ok(AREA, "memory", detail)

    def clock(self) -> Iterator[Finding]:
        before = time.time()
        seconds, microseconds = self._redis.time()
        ahead_s = seconds + microseconds / 1e6 - (before + time.time()) / 2
        yield clock_finding(AREA, ahead_s)

    def access(self) -> Iterator[Finding]:
        yield from key_findings(AREA, AccessKeyStore(self._redis).all(), time.time() * 1000)


def clock_finding(area: str, ahead_s: float) -> Finding:
    """Judge the difference between a clock and that of this machine."""
    if abs(ahead_s) <= _CLOCK_MAY_DIFFER_S:
        return ok(area, "clock", "that of this machine, to a few seconds")
    side = "ahead of" if ahead_s > 0 else "behind"
    detail = f"{abs(ahead_s):.0f} s {side} the clock of this machine: times and time limits are off"
    return warning(area, "clock", detail, "timedatectl set-ntp true")


def _blobs(connection: Redis | None, url: str) -> Iterator[Finding]:
    try:
        blobs = BlobStore(url)
        mark = blobs.read_mark(keys.STORE_IDENTITY_MARK)
    except BlobUrlError as error:
        yield problem(BLOBS, "address", str(error), "pip install s3fs, or correct BLOB_URL")
        return
    except BlobStoreUnavailableError as error:
        yield problem(BLOBS, "answers", f"{url}: {error}", "start it, or correct BLOB_URL and its keys")
        return
    parts = urlsplit(url)
    if parts.scheme == "file":
        yield from _folder(Path(parts.path))
    else:
        yield ok(BLOBS, "answers", url)
    if connection is not None:
        yield _belongs(connection, mark)


def _folder(folder: Path) -> Iterator[Finding]:
    if not folder.is_dir():
        yield warning(BLOBS, "folder", f"{folder} is not there yet", "it is made by the first process of the service")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield problem(BLOBS, "folder", f"{folder} cannot be written", f"sudo chown -R $(id -u) {folder}")
    else:
        yield ok(BLOBS, "folder", f"{folder} can be written")
    free = shutil.disk_usage(folder).free
    if free < _FAIR_FREE_BYTES:
        yield warning(BLOBS, "space", f"{size(free)} free", "make room, or move it and set BLOB_URL")
    else:
        yield ok(BLOBS, "space", f"{size(free)} free")


def _belongs(connection: Redis, mark: bytes | None) -> Finding:
    """Compare the two store identities."""
    in_redis: Any = connection.get(keys.STORE_IDENTITY)
    remedy = "restore what is missing from a backup, or give it up: perceptron init --accept-loss"
    match in_redis, mark:
        case None, None:
            return ok(BLOBS, "identity", "new, like Redis")
        case None, _:
            return problem(BLOBS, "identity", "has data, but Redis has none: it was emptied or replaced", remedy)
        case _, None:
            return problem(BLOBS, "identity", "is not the one of this Redis: it has no mark", remedy)
    if in_redis != mark:
        return problem(BLOBS, "identity", "belongs to another Redis", remedy)
    return ok(BLOBS, "identity", "belongs to this Redis")


def _workers(connection: Redis) -> Iterator[Finding]:
    queue = TrainingQueue(connection)
    workers, n_waiting = queue.workers(), len(queue.waiting_job_ids())
    if not workers:
        yield problem(
            WORKERS, "workers", f"none is registered; {n_waiting} jobs wait", "REDIS_URL=... perceptron worker"
        )
        return
    now = time.time()
    for worker in workers:
        silent_s = now - worker.last_heartbeat_at.timestamp()
        detail = (
            f"{worker.state} on {worker.hostname}, process {worker.pid}, heard {max(silent_s, 0):.0f} s ago; "
            f"rq {worker.rq_version}, Python {worker.python_version}"
        )
        if silent_s > _SILENT_S:
            yield warning(WORKERS, worker.name[:12], detail, "look at its log; it may have been killed")
        else:
            yield ok(WORKERS, worker.name[:12], detail)
    if len({worker.rq_version for worker in workers}) > 1:
        yield warning(WORKERS, "versions", "the workers are of different releases", "upgrade all of them: deploy/roll")
    yield ok(WORKERS, "queue", f"{n_waiting} jobs wait")
