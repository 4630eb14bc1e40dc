"""The blob store: bytes named by their sha256, in a directory or an object store reached through fsspec."""

import contextlib
import hashlib
import io
import os
import uuid

import fsspec

from storage.errors import BlobNotFoundError, BlobStoreUnavailableError, CorruptDataError


class BlobStore:
    """Write-once storage for what is too large for Redis: the instances that jobs train on.

    Args:
        url: where the blobs lie, for instance `file:///var/lib/perceptron/blobs` or `s3://bucket/prefix`
            (any scheme for which an fsspec implementation is installed).
    """

    def __init__(self, url: str) -> None:
        self._filesystem, self._root = fsspec.core.url_to_fs(url, auto_mkdir=True)

    def put(self, content: bytes) -> str:
        """Store the bytes durably and return their sha256; storing the same bytes again changes nothing.

        The name appears only once the content is complete, so a reader never meets half a blob.

        Raises:
            BlobStoreUnavailableError: it cannot be written, for want of space for instance; nothing is left behind.
        """
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        try:
            if not self._filesystem.exists(path):
                self._write(path, content)
        except OSError as error:
            raise BlobStoreUnavailableError(f"the blob store takes no blob: {error}") from error
        return digest

    def _write(self, path: str, content: bytes) -> None:
        folder = path.rpartition("/")[0]
        self._filesystem.makedirs(folder, exist_ok=True)
        partial = f"{path}.{uuid.uuid4().hex}.partial"
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
            CorruptDataError: what is stored under this name has another digest.
        """
        try:
            content: bytes = self._filesystem.cat_file(self._path(digest))
        except FileNotFoundError as error:
            raise BlobNotFoundError(digest) from error
        except OSError as error:
            raise BlobStoreUnavailableError(f"the blob store gives no blob: {error}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise CorruptDataError(f"the blob with sha256 {digest} has other content")
        return content

    def delete(self, digest: str) -> None:
        """Remove the bytes with this sha256; nothing happens when there are none.

        Raises:
            BlobStoreUnavailableError: they cannot be removed now.
        """
        try:
            self._filesystem.rm_file(self._path(digest))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise BlobStoreUnavailableError(f"the blob store removes no blob: {error}") from error

    def read_mark(self, name: str) -> bytes | None:
        """Return what `write_mark` wrote last, or None.

        Raises:
            BlobStoreUnavailableError: it cannot be read now.
        """
        try:
            content: bytes = self._filesystem.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BlobStoreUnavailableError(f"the blob store cannot be read: {error}") from error
        return content

    def write_mark(self, name: str, content: bytes) -> None:
        """Write something small beside the blobs that is found by a name of ours.

        Raises:
            BlobStoreUnavailableError: it cannot be written now.
        """
        try:
            self._write(f"{self._root}/{name}", content)
        except OSError as error:
            raise BlobStoreUnavailableError(f"the blob store takes no mark: {error}") from error

    def _path(self, digest: str) -> str:
        # Two levels keep a folder's listing short when there are many blobs.
        return f"{self._root}/{digest[:2]}/{digest}"


def _sync_folder(folder: str) -> None:
    """Make the rename into a local folder survive a power cut."""
    if not os.path.isdir(folder):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
