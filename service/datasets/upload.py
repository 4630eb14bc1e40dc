"""The body of an upload on its way into a file, counted and checked against the digests that came with it."""

import base64
import binascii
import errno
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from service.http.errors import BadRequestError, TableError
from storage.errors import BlobStoreUnavailableError

UPLOAD = "perceptron.upload"
"""The member of an ASGI scope that holds the upload of a request: a client cannot set it."""

_DIGEST_HEADERS = (b"digest", b"content-digest", b"repr-digest")
_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
_DIGEST = re.compile(r"\s*([A-Za-z0-9-]+)=:?([A-Za-z0-9+/=_-]*):?\s*")


class Upload:
    """A file that is being written. `complete` must be called once all of it has arrived.

    Args:
        folder: an empty one, which the caller deletes.
        headers: by name in lower case.
        max_bytes: the setting MAX_DATASET_BYTES.

    Raises:
        BadRequestError: a digest cannot be read.
        BlobStoreUnavailableError: the file cannot be made; so does `write`.
    """

    def __init__(self, folder: Path, headers: Mapping[bytes, bytes], max_bytes: int) -> None:
        self.folder = folder
        self.path = folder / "upload"
        self.n_bytes = 0
        self._max_bytes = max_bytes
        self._expected = _expected_digests(headers)
        self._hashes = {name: hashlib.new(name) for name in {"sha256", *(name for name, _ in self._expected)}}
        self._file: BinaryIO = self.path.open("xb")

    def write(self, part: bytes) -> None:
        """Add what has arrived.

        Raises:
            TableError: it is too large.
        """
        self.n_bytes += len(part)
        if self.n_bytes > self._max_bytes:
            detail = f"a data set may have {self._max_bytes} bytes (MAX_DATASET_BYTES)"
            raise TableError("too_large", detail, more={"limit": self._max_bytes})
        try:
            self._file.write(part)
        except OSError as error:
            full = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
            raise BlobStoreUnavailableError(f"the upload cannot be stored: {full}") from error
        for each in self._hashes.values():
            each.update(part)

    def complete(self) -> None:
        """Close the file, and compare its digests.

        Raises:
            BadRequestError: the file is not what was sent.
        """
        try:
            self._file.close()
        except OSError as error:
            raise BlobStoreUnavailableError(f"the upload cannot be stored: {error}") from error
        for name, expected in self._expected:
            if self._hashes[name].digest() != expected:
                raise BadRequestError(f"the body has another {name} than the header says: it was damaged on its way")

    def close(self) -> None:
        """Close the file, complete or not."""
        self._file.close()

    @property
    def sha256(self) -> str:
        """The sha256 of what has been written, in hexadecimal."""
        return self._hashes["sha256"].hexdigest()


def _expected_digests(headers: Mapping[bytes, bytes]) -> list[tuple[str, bytes]]:
    """Read the digests of RFC 9530, and of RFC 3230 before it. Those with other algorithms are ignored."""
    found = []
    for header in _DIGEST_HEADERS:
        for part in headers.get(header, b"").decode("latin-1").split(","):
            match = _DIGEST.fullmatch(part)
            algorithm = _ALGORITHMS.get(match[1].lower()) if match else None
            if match is None or algorithm is None:
                continue
            try:
                found.append((algorithm, base64.b64decode(match[2], validate=True)))
            except binascii.Error as error:
                name = header.decode().title()
                raise BadRequestError(f"the {name} header holds {match[1]} that is no Base64: {error}") from error
    return found
