"""What a backup says of itself, so that a damaged one is refused before anything is restored."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from standalone import StandaloneError

MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The store identity of a backup, and length and sha256 of its file of Redis."""

    store_identity: str
    redis_bytes: int
    redis_sha256: str

    @classmethod
    def of(cls, store_identity: bytes, redis_file: Path) -> "Manifest":
        """Describe a file of Redis as it is now."""
        return cls(
            store_identity=store_identity.decode("ascii", "replace"),
            redis_bytes=redis_file.stat().st_size,
            redis_sha256=_sha256(redis_file),
        )

    @classmethod
    def read(cls, folder: Path) -> "Manifest | None":
        """Return that of a backup; None: an older release, which wrote none, has made it.

        Raises:
            StandaloneError: it cannot be read.
        """
        path = folder / MANIFEST_FILE
        try:
            return _ADAPTER.validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:  # pydantic's ValidationError is one
            raise StandaloneError(f"the backup is damaged: {path} cannot be read") from error

    def write(self, folder: Path) -> None:
        """Write it into a backup."""
        with (folder / MANIFEST_FILE).open("xb") as file:
            file.write(_ADAPTER.dump_json(self, indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def check(self, store_identity: bytes, redis_file: Path) -> None:
        """Compare what is there with what was backed up.

        Raises:
            StandaloneError: it is something else.
        """
        if store_identity.decode("ascii", "replace") != self.store_identity:
            raise StandaloneError(f"the backup is damaged: its blobs are not those of {redis_file}")
        n_bytes = redis_file.stat().st_size
        if n_bytes != self.redis_bytes:
            raise StandaloneError(
                f"the backup is damaged: {redis_file} has {n_bytes:,} bytes, and had {self.redis_bytes:,}"
            )
        if _sha256(redis_file) != self.redis_sha256:
            raise StandaloneError(f"the backup is damaged: {redis_file} has other content than its sha256 says")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_ADAPTER = TypeAdapter(Manifest)
