"""How the two halves of the client wait: the async one on the event loop, the other one in its thread."""

import asyncio
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def sleep_on_loop(seconds: float) -> None:
    """Wait, and let the event loop do other work."""
    await asyncio.sleep(seconds)


def sleep_in_thread(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


async def call_in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function that blocks, without holding up the event loop."""
    return await asyncio.to_thread(function, *args, **kwargs)


def call_here(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function."""
    return function(*args, **kwargs)
