"""Looks at the blob store once a second, so that no request has to wait for one that is away."""

import logging
import threading
import time
from collections.abc import Callable

from storage.availability import as_unavailable, is_unavailable
from storage.errors import (
    BlobStoreBeingMarkedError,
    BlobStoreUnavailableError,
    UnavailableError,
    WrongBlobStoreError,
)
from storage.log.unexpected import log_unexpected

_EVERY_S = 1.0
_FIRST_LOOK_S = 2.0
_AGAIN_S = 0.05

_log = logging.getLogger(__name__)


class BlobWatch:
    """What the last look found.

    Args:
        check: raises if the blob store cannot be used, or is not ours.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._reason: str | None = None
        self._is_ours = True
        self._has_looked = threading.Event()

    def start(self) -> None:
        """Look from now on, in a thread."""
        threading.Thread(target=self._watch, name="blob-watch", daemon=True).start()

    def check(self) -> None:
        """Refuse to use a blob store that is away or not ours.

        Raises:
            UnavailableError: the last look found that it is.
        """
        self._has_looked.wait(_FIRST_LOOK_S)
        if (reason := self._reason) is not None:
            raise UnavailableError(reason)

    def check_is_ours(self) -> None:
        """Refuse to work with a blob store that is not ours; one that is away may be.

        Raises:
            UnavailableError: the last look found that it is not ours.
        """
        self._has_looked.wait(_FIRST_LOOK_S)
        if not self._is_ours:
            self.check()

    def _watch(self) -> None:
        give_up_at_s = time.monotonic() + _FIRST_LOOK_S
        while True:
            try:
                self._check()
                self._note(None)
            except BlobStoreBeingMarkedError as error:
                # For a moment, at the first start of several processes: requests wait for the next look.
                if not self._has_looked.is_set() and time.monotonic() < give_up_at_s:
                    time.sleep(_AGAIN_S)
                    continue
                self._note(error)
            except BlobStoreUnavailableError as error:
                self._note(error)
            except Exception as error:
                # Redis is away: that is noticed elsewhere, and tells nothing about the blob store.
                if not is_unavailable(error):
                    log_unexpected(_log, error, "the blob store could not be looked at")
            self._has_looked.set()
            time.sleep(_EVERY_S)

    def _note(self, error: BlobStoreUnavailableError | None) -> None:
        reason = None if error is None else str(as_unavailable(error))
        if reason != self._reason:
            _log.warning("the blob store: %s", error or "it can be used again")
        self._reason, self._is_ours = reason, not isinstance(error, WrongBlobStoreError)
