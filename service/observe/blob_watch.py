"""Looks at the blob store once a second, so that no request has to wait for one that is away."""

import logging
import threading
import time
from collections.abc import Callable

from storage.availability import is_unavailable
from storage.errors import BlobStoreUnavailableError, WrongBlobStoreError

_EVERY_S = 1.0
_FIRST_LOOK_S = 2.0

_log = logging.getLogger(__name__)


class BlobWatch:
    """What the last look found.

    Args:
        check: raises if the blob store cannot be used, or is not ours.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._error: BlobStoreUnavailableError | None = None
        self._has_looked = threading.Event()

    def start(self) -> None:
        """Look from now on, in a thread."""
        threading.Thread(target=self._watch, name="blob-watch", daemon=True).start()

    def check(self) -> None:
        """Refuse to use a blob store that cannot be used.

        Raises:
            BlobStoreUnavailableError: the last look found that it is away or not ours.
        """
        self._has_looked.wait(_FIRST_LOOK_S)
        if self._error is not None:
            raise self._error

    def check_is_ours(self) -> None:
        """Refuse to work with a blob store that is not ours; one that is away may be.

        Raises:
            WrongBlobStoreError: the last look found that it is not ours.
        """
        self._has_looked.wait(_FIRST_LOOK_S)
        if isinstance(self._error, WrongBlobStoreError):
            raise self._error

    def _watch(self) -> None:
        while True:
            try:
                self._check()
                error = None
            except BlobStoreUnavailableError as reason:
                error = reason
            except Exception as reason:
                # Redis is away: that is noticed elsewhere, and tells nothing about the blob store.
                error = self._error
                if not is_unavailable(reason):
                    _log.exception("the blob store could not be looked at")
            if type(error) is not type(self._error):
                _log.warning("the blob store: %s", error or "it can be used again")
            self._error = error
            self._has_looked.set()
            time.sleep(_EVERY_S)
