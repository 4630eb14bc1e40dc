"""The folder with the values of all API processes. gunicorn makes it, and each process has its files there.

A counter must not go back when a process ends, so its values are added to those of all that have ended before.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SETTING = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client looks for the folder, in the environment, when it is imported."""

_PREFIX = "perceptron-metrics-"
_PARENTS = ("/dev/shm",)
_ALIVE, _LOCK, _ENDED = "alive", "lock", "ended"
_KINDS = ("counter", "histogram")
_GAUGES = ("gauge_livesum", "gauge_livemax", "gauge_livemin")
_BYTES = {"counter": 1 << 20, "histogram": 1 << 20, **dict.fromkeys(_GAUGES, 1 << 16)}
_BYTES_PER_VERSION = 2_048
_NEW = ".new"
_NEW_S = 60.0

_log = logging.getLogger(__name__)
_held: list[int] = []
"""Locks that tell others that a folder is in use, until all processes that inherited them end."""


def make() -> None:
    """Make the folder of this gunicorn, in memory if possible, and remove those that nobody uses any more.

    Where nothing can be written, each process has its own metrics.
    """
    os.environ.pop(SETTING, None)  # another gunicorn's, which started this one
    for parent in (*_PARENTS, _temporary()):
        try:
            if parent is not None:
                _remove_unused(Path(parent))
                folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
                alive = os.open(folder / _ALIVE, os.O_CREAT | os.O_RDWR, 0o600)
                fcntl.flock(alive, fcntl.LOCK_SH)
                _held.append(alive)
                os.environ[SETTING] = str(folder)
                return
        except OSError:
            continue
    _log.warning("no temporary folder can be written: /metrics shows the process that answers, not all of them")


def join(*, n_versions: int) -> None:
    """Take the room for the files of this process, before anything is counted.

    They are mapped into memory, and a process that writes where a full file system has no room is killed.

    Args:
        n_versions: how many versions have labels.
    """
    folder = current()
    if folder is None:
        return
    try:
        for kind, n_bytes in _BYTES.items():
            more = n_versions * _BYTES_PER_VERSION if kind == "counter" else 0
            file = folder / f"{kind}_{os.getpid()}.db"
            new = file.with_suffix(_NEW)
            _allocate(new, n_bytes + more)
            new.replace(file)  # a scrape must not read half a file
    except OSError as error:
        _log.warning("no room for metrics (%s): those of this process are shown only when it answers", error)
        del os.environ[SETTING]
        for file in folder.glob(f"*_{os.getpid()}.*"):
            file.unlink()
        from prometheus_client import values  # chosen at its first import, which may have been gunicorn's

        values.ValueClass = values.get_value_class()


def current() -> Path | None:
    """Return the folder; None if there is none."""
    path = os.environ.get(SETTING)
    return Path(path) if path else None


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Let no process's values be moved inside the block, where they would be missing or counted twice."""
    with _locked(folder, fcntl.LOCK_SH):
        yield


def leave(folder: Path, pid: int) -> None:
    """Keep what a process that has ended counted, and remove its files."""
    from prometheus_client.mmap_dict import MmapedDict  # imported here, after the folder is known

    with _locked(folder, fcntl.LOCK_EX):
        for gauges in folder.glob(f"gauge_*_{pid}.db"):
            gauges.unlink()
        for kind in _KINDS:
            of_process, ended = folder / f"{kind}_{pid}.db", folder / f"{kind}_{_ENDED}.db"
            files = [file for file in (ended, of_process) if file.exists()]
            sums: defaultdict[str, float] = defaultdict(float)
            for file in files:
                for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):
                    sums[key] += value
            if of_process not in files:
                continue
            if sums:
                new = ended.with_suffix(_NEW)
                new.unlink(missing_ok=True)
                _allocate(new, sum(2 * len(key) + 64 for key in sums) + 4_096)
                values = MmapedDict(str(new))
                for key, value in sums.items():
                    values.write_value(key, value, 0.0)
                values.close()
                new.replace(ended)
            of_process.unlink()


def remove() -> None:
    """Remove the folder."""
    if (folder := current()) is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _temporary() -> str | None:
    with contextlib.suppress(OSError):
        return tempfile.gettempdir()
    return None


def _allocate(file: Path, n_bytes: int) -> None:
    fd = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(fd, 0, n_bytes)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    fd = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(fd, how)
        yield
    finally:
        os.close(fd)


def _remove_unused(parent: Path) -> None:
    """Remove the folders of ours whose gunicorn and processes were all killed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid != os.getuid():
                continue
            if not (folder / _ALIVE).exists():
                if time.time() - folder.stat().st_mtime > _NEW_S:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            fd = os.open(folder / _ALIVE, os.O_RDWR)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(fd)
