"""What requests are told about the blob store between two looks at it."""

import pytest

from service.observe.blob_watch import BlobWatch
from storage.errors import BlobStoreBeingMarkedError, BlobStoreUnavailableError, UnavailableError


def test_a_store_that_another_process_marks_at_this_moment_is_waited_for() -> None:
    """At the first start of several processes one of them refused everything for a second."""
    looks = iter([True, True, False])

    def check() -> None:
        if next(looks, False):
            raise BlobStoreBeingMarkedError("another process writes the store identity beside the blobs")

    watch = BlobWatch(check)
    watch.start()
    watch.check()


def test_a_store_that_is_away_is_refused_at_once() -> None:
    def check() -> None:
        raise BlobStoreUnavailableError("no connection")

    watch = BlobWatch(check)
    watch.start()
    with pytest.raises(UnavailableError, match="cannot be reached"):
        watch.check()
