"""The blob store: bytes named by their sha256, in a directory or an object store reached through fsspec."""

import contextlib
import hashlib
import io
import os
import re
import time
import uuid
from collections.abc import Iterator

import fsspec
from fsspec.implementations.local import LocalFileSystem

from storage.errors import BlobNotFoundError, BlobStoreUnavailableError, CorruptDataError

_is_digest = re.compile(r"[0-9a-f]{64}").fullmatch

_PARTIAL = ".partial"
_CONDEMNED = ".condemned"
_SET_ASIDE_S = 0.05
"""Longer than `delete_if_old` takes to put back a blob that it has set aside."""


class BlobStore:
    """Write-once storage for what is too large for Redis: instances to train on and checkpoints.

    Args:
        url: for instance `file:///var/lib/perceptron/blobs` or `s3://bucket/prefix`; any scheme for which an fsspec
            implementation is installed.
    """

    def __init__(self, url: str) -> None:
        self._filesystem, self._root = fsspec.core.url_to_fs(url, auto_mkdir=True)

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

    def _write(self, path: str, content: bytes) -> None:
        folder = path.rpartition("/")[0]
        self._filesystem.makedirs(folder, exist_ok=True)
        partial = f"{path}.{uuid.uuid4().hex}{_PARTIAL}"
        try:
            with self._filesystem.open(partial, "wb") as file:
                file.write(content)
                file.flush()
                # Only local files have a descriptor to flush; an object store keeps what it acknowledged.
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
                content = self._read(self._path(digest))
            except FileNotFoundError as error:
                raise BlobNotFoundError(digest) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise CorruptDataError(f"the blob with sha256 {digest} has other content")
        return content

    def _read(self, path: str) -> bytes:
        try:
            content: bytes = self._filesystem.cat_file(path)
        except FileNotFoundError:
            time.sleep(_SET_ASIDE_S)
            content = self._filesystem.cat_file(path)
        return content

    def old(self, folder: str, older_than: float) -> list[str]:
        """Return the sha256 of the blobs in one folder that were last stored before a time.

        Also completes or undoes what a process that died was doing.

        Args:
            folder: the first two digits of the sha256.
            older_than: seconds since 1970.

        Raises:
            BlobStoreUnavailableError: it cannot be listed now.
        """
        # No such folder, or another process was faster: nothing is old.
        with _unavailable_as("the blobs cannot be listed"), contextlib.suppress(FileNotFoundError):
            paths = [str(path) for path in self._filesystem.ls(f"{self._root}/{folder}", detail=False, refresh=True)]
            old = [path for path in paths if self._stored_at(path) < older_than]
            for path in old:
                if path.endswith(_CONDEMNED):
                    self._filesystem.mv(path, path.removesuffix(_CONDEMNED))
                elif path.endswith(_PARTIAL):
                    self._filesystem.rm_file(path)
            return [name for path in old if _is_digest(name := path.rpartition("/")[2])]
        return []

    def delete_if_old(self, digest: str, older_than: float) -> bool:
        """Delete a blob unless it was stored again since a time; return whether it was deleted.

        A file is set aside first. A process that stores it again meanwhile either finds it and renews its age, which is
        seen before the deletion, or does not find it and writes it again. An object store has no such step: there, the
        blob must not be stored again between the check and the deletion.

        Raises:
            BlobStoreUnavailableError: it cannot be deleted now.
        """
        path = self._path(digest)
        with _unavailable_as("the blob cannot be deleted"), contextlib.suppress(FileNotFoundError):
            if self._stored_at(path) >= older_than:
                return False
            if not isinstance(self._filesystem, LocalFileSystem):
                self._filesystem.rm_file(path)
                return True
            self._filesystem.mv(path, path + _CONDEMNED)
            if self._stored_at(path + _CONDEMNED) >= older_than:
                self._filesystem.mv(path + _CONDEMNED, path)
                return False
            self._filesystem.rm_file(path + _CONDEMNED)
            return True
        return False

    def _stored_at(self, path: str) -> float:
        return float(self._filesystem.modified(path).timestamp())

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
            self._filesystem.rm_file(self._path(digest))

    def read_mark(self, name: str) -> bytes | None:
        """Return what `write_mark` wrote last under this name, or None.

        Raises:
            BlobStoreUnavailableError: it cannot be read now.
        """
        with _unavailable_as(f"the mark {name!r} cannot be read"), contextlib.suppress(FileNotFoundError):
            content: bytes = self._filesystem.cat_file(f"{self._root}/{name}")
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


@contextlib.contextmanager
def _unavailable_as(what: str) -> Iterator[None]:
    """Raise BlobStoreUnavailableError, which begins with these words, for an error of the file system."""
    try:
        yield
    except OSError as error:
        raise BlobStoreUnavailableError(f"{what}: {error}") from error


def _sync_folder(folder: str) -> None:
    """Make the rename into a local folder survive a power cut."""
    if not os.path.isdir(folder):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
