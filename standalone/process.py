"""Children that end with their parent, and the end of whole sessions."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>

# Loaded here: between fork and exec, only plain calls are safe.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def ends_with_parent() -> Callable[[], None]:
    """Make the `preexec_fn` of a child that gets SIGTERM when this process dies, even by kill -9.

    Linux only; elsewhere it does nothing. The kernel watches the thread that forks, so start children from the
    main thread.
    """
    parent_pid = os.getpid()

    def before_exec() -> None:
        if _libc is None:
            return
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent_pid:  # the parent died before prctl, so no signal will come
            os._exit(1)

    return before_exec


def kill_session(session_id: int) -> None:
    """Send SIGKILL to every process of a session, whatever its group: RQ's worker children have their own."""
    if sys.platform != "linux":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(session_id, signal.SIGKILL)
        return
    for _ in range(2):  # twice: more may be forked during the first pass
        for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) == session_id:
                    os.kill(pid, signal.SIGKILL)
