"""The blob store: bytes under their digest, whole or not at all."""

import hashlib
from pathlib import Path

import pytest

from storage.blobs import BlobStore
from storage.errors import BlobNotFoundError, BlobStoreUnavailableError, CorruptDataError

CONTENT = b"instances"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_what_was_put_is_read_back_under_its_sha256(blobs: BlobStore) -> None:
    assert blobs.put(CONTENT) == DIGEST
    assert blobs.put(CONTENT) == DIGEST
    assert blobs.get(DIGEST) == CONTENT


def test_another_store_on_the_same_folder_finds_the_same_blobs(tmp_path: Path) -> None:
    BlobStore(tmp_path.as_uri()).put(CONTENT)
    assert BlobStore(tmp_path.as_uri()).get(DIGEST) == CONTENT


def test_an_unknown_digest_is_not_found(blobs: BlobStore) -> None:
    with pytest.raises(BlobNotFoundError):
        blobs.get(DIGEST)


def test_changed_content_is_noticed(blobs: BlobStore, tmp_path: Path) -> None:
    blobs.put(CONTENT)
    (path,) = (path for path in (tmp_path / "blobs").rglob("*") if path.is_file())
    path.write_bytes(b"something else")
    with pytest.raises(CorruptDataError):
        blobs.get(DIGEST)


def test_nothing_half_written_is_left_behind(blobs: BlobStore, tmp_path: Path) -> None:
    blobs.put(CONTENT)
    files = [path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert files == [DIGEST]


def test_a_store_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BlobStoreUnavailableError):
        BlobStore((tmp_path / "file" / "blobs").as_uri()).put(CONTENT)
