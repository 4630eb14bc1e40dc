"""A training worker whose epochs do not end: `python -m tests.faults.hanging_worker hangs|swallows`.

hangs: one C call that holds the GIL, so no signal handler and no other thread runs.
swallows: a loop that catches every exception, as a careless `except` would.
"""

import contextlib
import ctypes
import sys
import time
from collections.abc import Iterator
from typing import Any

import worker.single
from worker.main import main


def hang() -> None:
    ctypes.PyDLL(None).sleep(3600)  # PyDLL, unlike CDLL, holds the GIL


def swallow() -> None:
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(0.1)


def fit(*_: Any, **__: Any) -> Iterator[Any]:
    hang() if sys.argv[1] == "hangs" else swallow()
    yield


if __name__ == "__main__":
    worker.single.fit = fit
    sys.exit(main())
