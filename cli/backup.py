"""`perceptron backup` and `perceptron restore`: all that the stores hold, into a folder and back."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cli.manifest import Manifest
from standalone import DataDirectory, DataLostError, EmbeddedServer, StandaloneError
from standalone.errors import DataDirectoryInUseError
from standalone.redis_server import url_of_running
from storage.availability import ReplacedRedisError, explain, is_unavailable
from storage.blobs import BlobStore
from storage.connection import connect
from storage.errors import BlobUrlError, CorruptDataError, RedisUrlError, WrongBlobStoreError
from storage.identity import StoreIdentity
from storage.keys import STORE_IDENTITY_MARK
from storage.snapshot import write_snapshot
from storage.store_settings import blob_url

REDIS_FILE = "redis.rdb"
BLOBS = "blobs"

# Every server from 6.2 on loads a snapshot under this name, and goes on in its own layout.
RESTORED_AS = "appendonly.aof"


def backup(folder: Path, data_dir: Path, redis_url: str | None) -> str:
    """Copy Redis, as of one moment, and all blobs that it names into a new folder; the service may run meanwhile.

    Blobs come first, then Redis, then the blobs that are new since. A blob that Redis names at its moment was either
    there at the first pass, or is too young to be deleted before the second: that takes an hour. Only a checkpoint can
    be missing, whose job succeeded meanwhile; a job without one starts from the beginning.

    Args:
        redis_url: None for the embedded server of the data directory, which is started if it does not run.

    Raises:
        StandaloneError: a store cannot be read, or the two do not belong together, or the folder cannot be written.
    """
    folder = folder.absolute()
    if folder.exists():
        raise StandaloneError(f"{folder} exists: name a new folder for each backup")
    os.umask(0o077)  # what it holds is for nobody else
    with _errors_explained(), ExitStack() as on_exit:
        if redis_url is None:
            redis_url = on_exit.enter_context(_embedded(data_dir))
        source = BlobStore(blob_url(os.environ, data_dir.absolute()))
        identity = StoreIdentity(source)
        redis = on_exit.enter_context(connect(redis_url, timeout_s=5, n_retries=1, identity=identity))
        identity.check(redis)
        identity.check_blobs(redis)
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=folder.parent))
        # A nightly backup that always fails must not fill the disk. One that is complete has another name by then.
        on_exit.callback(shutil.rmtree, partial, ignore_errors=True)
        blobs = BlobStore((partial.absolute() / BLOBS).as_uri())
        n_blobs = blobs.copy_from(source)
        n_bytes = write_snapshot(redis, partial / REDIS_FILE)
        n_blobs += blobs.copy_from(source)
        mark = source.read_mark(STORE_IDENTITY_MARK) or b""
        blobs.write_mark(STORE_IDENTITY_MARK, mark)
        Manifest.of(mark, partial / REDIS_FILE).write(partial)
        partial.rename(folder)
    return f"{folder} holds Redis ({n_bytes:,} bytes) and {n_blobs:,} blobs."


def restore(folder: Path, data_dir: Path, redis_url: str | None) -> str:
    """Put a backup where a service that is stopped will find it; return what was done, and what is left to do.

    Redis comes last: as long as it is missing, the service does not start on what there is.

    Args:
        redis_url: of a Redis of one's own, whose file is left to its operator; None for the embedded server.

    Raises:
        StandaloneError: there is no backup, it is damaged, or there is other data in its place.
    """
    snapshot, folder = folder / REDIS_FILE, folder.absolute()
    if not snapshot.is_file():
        raise StandaloneError(f"{folder} is no backup: it has no {REDIS_FILE}")
    with _errors_explained(), ExitStack() as on_exit:
        data = on_exit.enter_context(DataDirectory.open(data_dir, "perceptron restore"))
        redis_dir = data.path / "redis"
        if redis_url is None and EmbeddedServer(data.path).has_data:
            raise StandaloneError(f"{redis_dir} has data: move it away, for example to {redis_dir}.before")
        source, target = BlobStore((folder / BLOBS).as_uri()), BlobStore(blob_url(os.environ, data.path))
        mark, there = (store.read_mark(STORE_IDENTITY_MARK) for store in (source, target))
        if not mark:
            raise StandaloneError(f"{folder} is no complete backup: {BLOBS}/{STORE_IDENTITY_MARK} is missing")
        if (manifest := Manifest.read(folder)) is not None:
            manifest.check(mark, snapshot)
        if there not in (None, mark):
            raise StandaloneError(
                "the blob store holds the blobs of another Redis: choose another DATA_DIR or BLOB_URL"
            )
        n_blobs = target.copy_from(source)
        target.write_mark(STORE_IDENTITY_MARK, mark)
        done = f"{n_blobs:,} blobs were missing and are restored."
        if redis_url is not None:
            return f"{done} Now stop Redis, and copy {snapshot} into its empty folder as {RESTORED_AS}."
        redis_dir.mkdir(mode=0o700, exist_ok=True)
        partial = redis_dir / f"{RESTORED_AS}.partial"
        with snapshot.open("rb") as source_file, partial.open("wb") as file:
            shutil.copyfileobj(source_file, file)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(redis_dir / RESTORED_AS)
    return f"{done} Redis is restored: 'perceptron up --data-dir {data_dir}' goes on with it."


@contextmanager
def _embedded(data_dir: Path) -> Iterator[str]:
    """Give the URL of the server on a data directory: the one that runs, or else one that is started for this."""
    with ExitStack() as on_exit:
        try:
            data = on_exit.enter_context(DataDirectory.open(data_dir, "perceptron backup"))
        except DataDirectoryInUseError:
            if (running := url_of_running(data_dir)) is None:
                raise
            yield running
            return
        server = EmbeddedServer(data.path)
        if not server.has_data:
            raise StandaloneError(f"{data_dir} has no data: name another directory with --data-dir, or set REDIS_URL")
        yield on_exit.enter_context(server).url


@contextmanager
def _errors_explained() -> Iterator[None]:
    try:
        yield
    except (ReplacedRedisError, WrongBlobStoreError) as error:
        raise DataLostError(str(error)) from error
    except (BlobUrlError, RedisUrlError, CorruptDataError) as error:
        raise StandaloneError(str(error)) from error
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            raise StandaloneError(f"{error.filename} cannot be used: {error.strerror}") from error
        if isinstance(error, OSError):  # a write to an open file names none
            raise StandaloneError(f"a file cannot be written or read: {error.strerror or error}") from error
        if not is_unavailable(error):
            raise
        raise StandaloneError(f"a store cannot be used now: {explain(error)}") from error
