"""The blob store: bytes named by their sha256, in a directory or an object store reached through fsspec."""

import contextlib
import hashlib
import io
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.implementations.local import LocalFileSystem

from storage.errors import BlobNotFoundError, BlobStoreUnavailableError, BlobUrlError, CorruptDataError, StorageError

ANSWER_WITHIN_S = 1.2
"""How long an object store may take for a request without much content: so that `POST /jobs` answers within 2 s."""

READ_WITHIN_S = 60.0
"""How long an object store may take to give a blob. Only workers wait for one."""

_SLOWEST_BYTES_PER_S = 2_000_000
"""An upload may take so much longer than `ANSWER_WITHIN_S`."""

_is_digest = re.compile(r"[0-9a-f]{64}").fullmatch

_PARTIAL = ".partial"

_SCRATCH = "uploads"
"""Beside the folders of blobs, in a directory."""

_S3: Mapping[str, Any] = {
    "use_listings_cache": False,  # other processes change the store, too
    # The default is to wait for a minute and more. Callers who can wait ask again by themselves.
    "config_kwargs": {"connect_timeout": 2, "read_timeout": 5, "retries": {"total_max_attempts": 1}},
}


class BlobStore:
    """Write-once storage for what is too large for Redis: data sets, instances to train on and checkpoints.

    Args:
        url: for instance `file:///var/lib/perceptron/blobs` or `s3://bucket/prefix`; any scheme for which an fsspec
            implementation is installed.

    Raises:
        BlobUrlError: nothing that is installed can reach this URL.
    """

    def __init__(self, url: str) -> None:
        options = _S3 if url.startswith(("s3://", "s3a://")) else {}
        try:
            self._filesystem, self._root = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise BlobUrlError(url.partition("://")[0], str(error)) from error
        if options:
            self._filesystem.retries = 1  # s3fs has retries of its own, besides those of the library below it

    def put(self, content: bytes) -> str:
        """Store the bytes durably and return their sha256. Storing the same bytes again only renews their age.

        The name appears once the content is complete, so that a reader never sees half a blob.

        Raises:
            BlobStoreUnavailableError: the blob cannot be written, for instance because the disk is full; nothing is
                left behind.
        """
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        with _unavailable_as("the blob cannot be stored"):
            if not self._renew(path, len(content)):
                self._write(path, content)
        return digest

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder for files on their way into the store; it is deleted at the end.

        Raises:
            BlobStoreUnavailableError: it cannot be made.
        """
        parent = None  # the system's
        with _unavailable_as("there is no place for a file on its way"):
            if isinstance(self._filesystem, LocalFileSystem):
                parent = Path(self._root) / _SCRATCH  # where a file becomes a blob by another name
                parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="perceptron-", dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep_scratch(self, older_than: float) -> None:
        """Delete folders of `scratch` that processes that died have left before a time, in seconds since 1970."""
        if not isinstance(self._filesystem, LocalFileSystem):
            return
        with _unavailable_as("files on their way cannot be listed"), contextlib.suppress(FileNotFoundError):
            for folder in (Path(self._root) / _SCRATCH).iterdir():
                if max(each.stat().st_mtime for each in (folder, *folder.iterdir())) < older_than:
                    shutil.rmtree(folder, ignore_errors=True)

    def put_file(self, source: Path) -> str:
        """Store a file of `scratch` durably, in bounded memory, and return its sha256. The file is gone afterwards.

        Raises:
            BlobStoreUnavailableError: as `put`.
        """
        with source.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        path, n_bytes = self._path(digest), source.stat().st_size
        with _unavailable_as("the blob cannot be stored"):
            if self._renew(path, n_bytes):
                source.unlink()
            elif isinstance(self._filesystem, LocalFileSystem):
                folder = Path(path).parent
                folder.mkdir(parents=True, exist_ok=True)
                source.replace(path)
                _sync_folder(str(folder))
            else:
                within_s = ANSWER_WITHIN_S + n_bytes / _SLOWEST_BYTES_PER_S
                self._ask("put_file", str(source), path, within_s=within_s)
                source.unlink()
        return digest

    def open(self, digest: str) -> IO[bytes]:
        """Open the blob with this sha256, to read parts of it. What is read is not checked against the digest.

        Raises:
            BlobNotFoundError: there is no such blob.
            BlobStoreUnavailableError: it cannot be read now.
        """
        with _unavailable_as("the blob cannot be read"):
            try:
                file: IO[bytes] = self._filesystem.open(self._path(digest), "rb")
            except FileNotFoundError as error:
                raise BlobNotFoundError(digest) from error
        return file

    def _write(self, path: str, content: bytes) -> None:
        if isinstance(self._filesystem, AsyncFileSystem):  # an object store: a name appears with its whole content
            self._ask("pipe_file", path, content, within_s=ANSWER_WITHIN_S + len(content) / _SLOWEST_BYTES_PER_S)
            return
        folder = path.rpartition("/")[0]
        self._filesystem.makedirs(folder, exist_ok=True)
        partial = f"{path}.{uuid.uuid4().hex}{_PARTIAL}"
        try:
            with self._filesystem.open(partial, "wb") as file:
                file.write(content)
                file.flush()
                # Only local files have a descriptor to flush.
                with contextlib.suppress(io.UnsupportedOperation, AttributeError):
                    os.fsync(file.fileno())
            self._filesystem.mv(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                self._filesystem.rm(partial)
            raise
        _sync_folder(folder)

    def get(self, digest: str) -> bytes:
        """Return the bytes with this sha256.

        Raises:
            BlobNotFoundError: there is no such blob.
            BlobStoreUnavailableError: it cannot be read now.
            CorruptDataError: the stored bytes have another digest.
        """
        with _unavailable_as("the blob cannot be read"):
            try:
                content: bytes = self._ask("cat_file", self._path(digest), within_s=READ_WITHIN_S)
            except FileNotFoundError as error:
                raise BlobNotFoundError(digest) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise CorruptDataError(f"the blob with sha256 {digest} has other content")
        return content

    def old(self, folder: str, older_than: float) -> list[str]:
        """Return the sha256 of the blobs in one folder that were last stored before a time.

        Also removes what a process that died had not finished.

        Args:
            folder: the first two digits of the sha256.
            older_than: seconds since 1970.

        Raises:
            BlobStoreUnavailableError: it cannot be listed now.
        """
        # No such folder, or another process was faster: nothing is old.
        with _unavailable_as("the blobs cannot be listed"), contextlib.suppress(FileNotFoundError):
            entries = self._ask("ls", f"{self._root}/{folder}", detail=True)
            old = [str(entry["name"]) for entry in entries if self._stored_at(entry) < older_than]
            for path in old:
                if "." in path.rpartition("/")[2]:
                    self._ask("rm_file", path)
            return [name for path in old if _is_digest(name := path.rpartition("/")[2])]
        return []

    def delete_if_old(self, digest: str, older_than: float) -> bool:
        """Delete a blob unless it was stored again since a time; return whether it was deleted.

        The blob must not be stored again between the check and the deletion: see `JobStore.submit`.

        Raises:
            BlobStoreUnavailableError: it cannot be deleted now.
        """
        path = self._path(digest)
        with _unavailable_as("the blob cannot be deleted"), contextlib.suppress(FileNotFoundError):
            if self._stored_at(self._ask("info", path)) < older_than:
                self._ask("rm_file", path)
                return True
        return False

    def digests(self) -> Iterator[str]:
        """Give the sha256 of every blob, folder by folder. What is stored or deleted meanwhile may be missing.

        Raises:
            BlobStoreUnavailableError: they cannot be listed now.
        """
        for number in range(256):
            with _unavailable_as("the blobs cannot be listed"), contextlib.suppress(FileNotFoundError):
                names = self._ask("ls", f"{self._root}/{number:02x}", detail=False, within_s=READ_WITHIN_S)
                yield from filter(_is_digest, (str(path).rpartition("/")[2] for path in names))

    def copy_from(self, source: "BlobStore") -> int:
        """Store every blob of another store that this one lacks, in bounded memory; return how many there were.

        Raises:
            BlobStoreUnavailableError: one of the two cannot be read or written.
            CorruptDataError: a blob of the source has another content than its name says.
        """
        present, n_copied = set(self.digests()), 0
        with self.scratch() as folder:
            for digest in source.digests():
                path = folder / digest
                if digest in present or not source.fetch(digest, path):
                    continue
                if (found := self.put_file(path)) != digest:
                    self.delete(found)
                    raise CorruptDataError(f"the blob with sha256 {digest} has other content")
                n_copied += 1
        return n_copied

    def fetch(self, digest: str, path: Path) -> bool:
        """Write a blob into a file, unchecked; return whether there was one.

        Raises:
            BlobStoreUnavailableError: it cannot be read now, or the file cannot be written.
        """
        with _unavailable_as("the blob cannot be copied"), contextlib.suppress(FileNotFoundError, BlobNotFoundError):
            with self.open(digest) as file, path.open("wb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
            return True
        return False

    def _stored_at(self, entry: Mapping[str, Any]) -> float:
        at = entry.get("LastModified") or entry.get("mtime") or self._filesystem.modified(entry["name"])
        return at.timestamp() if isinstance(at, datetime) else float(at)

    def _renew(self, path: str, n_bytes: int) -> bool:
        """Renew the age of a stored file; False if it must be written (missing, incomplete or not a local file)."""
        if not isinstance(self._filesystem, LocalFileSystem):
            return False
        try:
            os.utime(path)
            return os.path.getsize(path) == n_bytes
        except FileNotFoundError:
            return False

    def delete(self, digest: str) -> None:
        """Delete the bytes with this sha256, if there are any.

        Raises:
            BlobStoreUnavailableError: they cannot be deleted now.
        """
        with _unavailable_as("the blob cannot be deleted"), contextlib.suppress(FileNotFoundError):
            self._ask("rm_file", self._path(digest))

    def read_mark(self, name: str) -> bytes | None:
        """Return what `write_mark` wrote last under this name, or None.

        Raises:
            BlobStoreUnavailableError: it cannot be read now.
        """
        with _unavailable_as(f"the mark {name!r} cannot be read"), contextlib.suppress(FileNotFoundError):
            content: bytes = self._ask("cat_file", f"{self._root}/{name}")
            return content
        return None

    def write_mark(self, name: str, content: bytes) -> None:
        """Write a small file beside the blobs, under a name that is no digest.

        Raises:
            BlobStoreUnavailableError: it cannot be written now.
        """
        with _unavailable_as(f"the mark {name!r} cannot be written"):
            self._write(f"{self._root}/{name}", content)

    def _path(self, digest: str) -> str:
        if not _is_digest(digest):  # a record in Redis names it, and another text could name any file
            raise CorruptDataError(f"{digest[:64]!r} is no sha256")
        # Two levels, so that no folder has too many entries.
        return f"{self._root}/{digest[:2]}/{digest}"

    def _ask(self, operation: str, *args: Any, within_s: float = ANSWER_WITHIN_S, **options: Any) -> Any:
        """Call an operation of the file system; one that goes over a network raises TimeoutError when it takes long."""
        if isinstance(self._filesystem, AsyncFileSystem):
            run = getattr(self._filesystem, f"_{operation}")
            return sync(self._filesystem.loop, run, *args, timeout=within_s, **options)
        return getattr(self._filesystem, operation)(*args, **options)


@contextlib.contextmanager
def _unavailable_as(what: str) -> Iterator[None]:
    """Raise BlobStoreUnavailableError, which begins with these words, for an error of the file system.

    The library of an object store raises errors of its own, of which only some are an OSError.
    """
    try:
        yield
    except (StorageError, MemoryError):
        raise
    except Exception as error:
        raise BlobStoreUnavailableError(f"{what}: {type(error).__name__}: {error}") from error


def _sync_folder(folder: str) -> None:
    """Make the rename into a local folder survive a power cut."""
    if not os.path.isdir(folder):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
