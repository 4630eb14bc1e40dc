"""What `perceptron up` runs: the embedded server, the API and the training workers, as stages of the supervisor."""

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import NoReturn

import redis
from redis.exceptions import NoPermissionError

from standalone.data_directory import DataDirectory
from standalone.disk_guard import REFUSING, DiskGuard
from standalone.errors import (
    AddressError,
    BlobUrlUnusableError,
    DataLostError,
    OpenServiceError,
    RedisUnreachableError,
)
from standalone.log_lines import begin, log, say
from standalone.redis_server import EmbeddedServer, is_noise
from standalone.supervisor import ChildSpec, Supervisor, answers_http
from storage.access.opening import check_may_listen
from storage.availability import explain
from storage.blobs import BlobStore
from storage.connection import connect
from storage.errors import BlobUrlError, MissingCommandsError, OpenToAllError, RedisUrlError
from storage.keys import OLDER_STORE_IDENTITY_MARK, STORE_IDENTITY_MARK
from storage.log.settings import LogSettings
from storage.memory_limit import MAX_TRAINING_BYTES, share_of_memory
from storage.needed_commands import check_commands
from storage.output import never_block
from storage.store_settings import DEFAULT_DATA_DIR, INSECURE, blob_url, data_dir, published_hosts

API_COMMAND = (
    sys.executable,
    "-m",
    "gunicorn",
    "--config",
    "python:service.server.gunicorn_config",
    "service.asgi:app",
)
WORKER_COMMAND = (sys.executable, "-m", "worker.main")
WORKER_READY_LINE = "ready for training jobs"

# `storage.identity` writes the first one beside the blobs once a Redis is in use; older releases wrote the other.
IDENTITY_MARKS = (Path("blobs", STORE_IDENTITY_MARK), Path("blobs", OLDER_STORE_IDENTITY_MARK))

# An API whose supervisor was killed drains, and holds the port for at most this long.
KILLED_API_DRAINS_WITHIN_S = 25.0

SAY_EVERY_S = 10.0

# The folder of our packages, in a checkout or installed. Children run in it: gunicorn imports from the current
# directory first, and elsewhere anything may be called `service`.
PACKAGES = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class UpSettings:
    """How `perceptron up` runs."""

    host: str = "127.0.0.1"
    port: int = 8000
    api_processes: int = 1
    workers: int = 1
    data_dir: Path = Path(DEFAULT_DATA_DIR)
    redis_url: str | None = None  # None: an embedded server
    is_insecure: bool = False  # let everybody in while there is no access key, wherever the API listens

    @property
    def local_host(self) -> str:
        """Where this machine reaches the API."""
        return _local_host(self.host)

    @property
    def address(self) -> str:
        return f"http://{_local_address(self.host, self.port)}"


def up(settings: UpSettings) -> int:
    """Run everything until SIGTERM or Ctrl-C; returns the exit status.

    Raises:
        StandaloneError: It cannot start; the message says what to do about it.
    """
    _check_blob_url(settings.data_dir)
    never_block()
    log_env = begin(LogSettings.from_env(os.environ))
    with ExitStack() as on_exit:
        data = on_exit.enter_context(DataDirectory.open(settings.data_dir, settings.address))
        _wait_for_port(settings.host, settings.port, KILLED_API_DRAINS_WITHIN_S if data.was_killed else 0.0)
        stages: list[list[ChildSpec]] = []
        if settings.redis_url is not None:
            _check_redis(settings.redis_url)
            redis_url = settings.redis_url
        else:
            server = EmbeddedServer(data.path)
            _check_files(server, data.path)
            server.prepare()
            on_exit.callback(server.release)
            redis_url = server.url
            guard = DiskGuard(server.directory, connect(redis_url, timeout_s=1.0, n_retries=0))
            guard.start()
            on_exit.callback(guard.stop)
            refusing = [word for name, value in REFUSING.items() for word in (f"--{name}", value)]
            spec = ChildSpec(
                "redis",
                [*server.command, *refusing],
                is_ready=lambda: server.is_ready() and guard.is_in_force,
                pass_fds=server.pass_fds,
                cwd=server.directory,
                before_start=server.make_runtime_dir,
                busy_with=server.busy_with,
                fault=server.fault,
                is_noise=is_noise,
            )
            stages.append([spec])
        _announce(_local_address(settings.host, settings.port))
        stages.append(_api_and_workers(settings, redis_url, data.path, log_env))
        return Supervisor(stages, on_ready=lambda: _say_ready(settings.address)).run()


def exec_api(host: str, port: int, api_processes: int, redis_url: str, *, is_insecure: bool) -> NoReturn:
    """Replace this process with the API, without a supervisor.

    Raises:
        StandaloneError: BLOB_URL or REDIS_URL cannot be used, or everybody would come in.
    """
    _check_blob_url(data_dir(os.environ))
    _check_access(host, redis_url, is_insecure=is_insecure)
    _announce(_local_address(host, port))
    _exec(API_COMMAND, _api_env(host, port, api_processes, is_insecure=is_insecure) | _stores_env(redis_url))


def exec_worker(redis_url: str) -> NoReturn:
    """Replace this process with a training worker, without a supervisor."""
    _announce("")
    _exec(WORKER_COMMAND, _stores_env(redis_url))


def _local_host(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def _local_address(host: str, port: int) -> str:
    local = _local_host(host)
    return f"[{local}]:{port}" if ":" in local else f"{local}:{port}"


def _stores_env(redis_url: str) -> dict[str, str]:
    """Make DATA_DIR absolute: it is relative to the user's directory, and the process runs in another."""
    return {"REDIS_URL": redis_url, "DATA_DIR": str(data_dir(os.environ))}


def _exec(command: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    sys.stdout.flush()
    os.chdir(PACKAGES)
    os.execve(command[0], [*command], _environment(env))


def _api_and_workers(
    settings: UpSettings, redis_url: str, data_dir: Path, log_env: Mapping[str, str]
) -> list[ChildSpec]:
    common = {
        **log_env,
        "REDIS_URL": redis_url,
        "BLOB_URL": blob_url(os.environ, data_dir),
        MAX_TRAINING_BYTES: os.environ.get(MAX_TRAINING_BYTES) or str(share_of_memory(settings.workers)),
    }
    is_ready = partial(answers_http, settings.local_host, settings.port, "/readyz")
    # Redis and the workers stop at the same time, so there is nothing for a load balancer to wait for.
    api_settings = _api_env(settings.host, settings.port, settings.api_processes, is_insecure=settings.is_insecure) | {
        "STOP_DELAY_S": "0"
    }
    api_env = _environment(common | api_settings)
    # The embedded server has to run for this. Once: what held at the start need not stop a restart later.
    check = cache(partial(_check_access, settings.host, redis_url, is_insecure=settings.is_insecure))
    api = ChildSpec("api", API_COMMAND, is_ready=is_ready, env=api_env, cwd=PACKAGES, before_start=check)
    worker_env = _environment(common)
    workers = [
        ChildSpec(f"worker-{number}", WORKER_COMMAND, WORKER_READY_LINE, env=worker_env, cwd=PACKAGES)
        for number in range(1, settings.workers + 1)
    ]
    return [api, *workers]


def _api_env(host: str, port: int, api_processes: int, *, is_insecure: bool) -> dict[str, str]:
    insecure = "true" if is_insecure else "false"
    return {"HOST": host, "PORT": str(port), "API_PROCESSES": str(api_processes), INSECURE: insecure}


def _announce(address: str) -> None:
    """Write into HEALTH_FILE what `cli.health` has to check: the address of the API, or nothing for a worker.

    Without that file the service runs as well, so that a file system that is read-only stops nothing.
    """
    if path := os.environ.get("HEALTH_FILE"):
        try:
            Path(path).write_text(address)
        except OSError as error:
            log(f"no health check: HEALTH_FILE {path} cannot be written ({error.strerror}): mount a tmpfs there")


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with the changes, and our packages first on the import path."""
    search_path = os.pathsep.join(filter(None, [str(PACKAGES), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": search_path, **changes}


def _wait_for_port(host: str, port: int, patience_s: float) -> None:
    """Check that the API can listen there.

    Raises:
        AddressError: It cannot, and the message says why.
    """
    deadline = time.monotonic() + patience_s
    is_waiting = False
    while True:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                return
        except socket.gaierror as error:
            raise AddressError(f"the host {host} is unknown: try --host 127.0.0.1") from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                if time.monotonic() < deadline:
                    if not is_waiting:
                        log(f"port {port} is in use, perhaps by the API of a run that was killed: waiting for it")
                    is_waiting = True
                    time.sleep(0.05)
                    continue
                remedy = f"stop what listens there, or choose another, for example --port {port % 65535 + 1}"
                raise AddressError(f"port {port} of {host} is in use: {remedy}") from error
            if error.errno == errno.EACCES:
                raise AddressError(f"port {port} needs more rights: try --port 8000") from error
            raise AddressError(f"cannot listen on {host} ({error.strerror}): try --host 127.0.0.1") from error


def _check_blob_url(data_dir: Path) -> None:
    """Check that what is installed can reach BLOB_URL: gunicorn's processes would say so less clearly.

    Raises:
        BlobUrlUnusableError: it cannot.
    """
    try:
        BlobStore(blob_url(os.environ, data_dir))
    except BlobUrlError as error:
        raise BlobUrlUnusableError(str(error)) from error


def _check_access(host: str, redis_url: str, *, is_insecure: bool) -> None:
    """Check that not everybody comes in who reaches the API from another machine.

    Raises:
        OpenServiceError: everybody would.
        RedisUnreachableError: REDIS_URL cannot be read.
    """
    published = published_hosts(os.environ)
    try:
        with closing(connect(redis_url, timeout_s=2.0, n_retries=0)) as connection:
            check_may_listen(published or [host], connection, is_insecure=is_insecure)
    except OpenToAllError as error:
        in_compose = "; in compose: docker compose run --rm api keys create --scope admin" if published else ""
        raise OpenServiceError(f"{error}{in_compose}") from error
    except RedisUrlError as error:
        raise RedisUnreachableError(str(error)) from error


def _check_files(server: EmbeddedServer, data_dir: Path) -> None:
    """Check that an embedded server that had data still has files to load.

    Raises:
        DataLostError: The files are gone.
    """
    mark = next((data_dir / mark for mark in IDENTITY_MARKS if (data_dir / mark).exists()), None)
    if mark is not None and not server.has_data:
        raise DataLostError(
            f"{server.directory} has no data, though {mark} says that there was some: restore it "
            "from a backup, set REDIS_URL if it is elsewhere, or give it up with 'perceptron init --accept-loss'"
        )


def _check_redis(url: str) -> None:
    """Check that a server answers at REDIS_URL and has what is needed; wait while it loads its data.

    Raises:
        RedisUnreachableError: It does not; the message holds no password.
    """
    remedy = "start it, or unset REDIS_URL to use the embedded server"
    say_at = time.monotonic()
    try:
        client = connect(url, timeout_s=5.0, n_retries=0)
    except RedisUrlError as error:
        raise RedisUnreachableError(str(error)) from error
    with closing(client) as connection:
        while True:
            try:
                check_commands(connection)
                return
            except redis.BusyLoadingError:
                if time.monotonic() >= say_at:
                    log("waiting for the Redis at REDIS_URL, which loads its data")
                    say_at += SAY_EVERY_S
                time.sleep(0.2)
            except (redis.AuthenticationError, NoPermissionError, MissingCommandsError) as error:
                raise RedisUnreachableError(explain(error)) from error
            except (redis.RedisError, OSError) as error:
                raise RedisUnreachableError(f"no Redis answers at REDIS_URL ({error}): {remedy}") from error


def _say_ready(address: str) -> None:
    data = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}
    job = json.dumps({"model": "or", "data": data})
    prediction = json.dumps({"model": "or", "instances": [[0, 0], [1, 0]]})
    as_json = "-H 'Content-Type: application/json'"
    lines = (
        f"Ready at {address} (documentation: {address}/docs). Try it: train, wait for the job, predict.",
        f"job=$(curl -s {address}/jobs {as_json} -d '{job}' | grep -o 'job_[0-9a-f]*' | head -1); echo $job",
        f"until curl -s {address}/jobs/$job | grep '\"done\": *true'; do sleep 0.2; done",
        f"curl -s -w '\\n' {address}/predict {as_json} -d '{prediction}'",
    )
    say(lines)
