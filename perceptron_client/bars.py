"""How far a job or an upload is: a bar of tqdm on a terminal and in a notebook, else a line now and then."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from perceptron_client.answers.jobs import Job

_LINE_EVERY_S = 3.0


class JobBar(Protocol):
    """Shows how far a job is."""

    def show(self, job: Job) -> None:
        """Show the job as it is now."""

    def close(self) -> None:
        """Show nothing more."""


class Silent:
    """Shows nothing."""

    def show(self, job: Job) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""


class Lines:
    """One line on stderr every few seconds."""

    def __init__(self) -> None:
        self._last: tuple[float, str] = (-_LINE_EVERY_S, "")

    def show(self, job: Job) -> None:
        """Print a line, unless one was printed a moment ago."""
        shown_at, shown = self._last
        text = f"{job.model}: {job.status}{described(job)}"
        if text != shown and (job.done or time.monotonic() - shown_at >= _LINE_EVERY_S):
            self._last = (time.monotonic(), text)
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Print nothing more."""


class Bar:
    """A bar of tqdm."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def show(self, job: Job) -> None:
        """Move the bar."""
        self._bar.set_description_str(f"{job.model} ({job.status})", refresh=False)
        progress, result = job.progress, job.result
        if result is not None:
            self._bar.total = self._bar.n = result.epochs
        elif progress is not None:
            self._bar.total, self._bar.n = progress.max_epochs, progress.epoch
        self._bar.set_postfix_str(described(job, with_epoch=False).removeprefix(", "), refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


def described(job: Job, *, with_epoch: bool = True) -> str:
    """Return epoch, cost and time left as a text that begins with a comma."""
    progress = job.progress
    if job.result is not None:
        epoch = f", epoch {job.result.epochs}" if with_epoch else ""
        return f"{epoch}, cost {job.result.cost:.4g}" if job.result.cost is not None else epoch
    if progress is None:
        return ""
    parts = [f"epoch {progress.epoch} of {progress.max_epochs}"] if with_epoch else []
    if progress.cost is not None:
        parts.append(f"cost {progress.cost:.4g}")
    if progress.validation_cost is not None:
        parts.append(f"held out {progress.validation_cost:.4g}")
    if progress.estimated_finish_at is not None and not job.done:
        left_s = max((progress.estimated_finish_at - datetime.now(UTC)).total_seconds(), 0)
        parts.append(f"at most {duration(left_s)} left")
    return "".join(f", {part}" for part in parts)


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h"


def job_bar(*, progress: bool) -> JobBar:
    """Return what shows how far a job is."""
    if not progress:
        return Silent()
    tqdm = _tqdm()
    if tqdm is None:
        return Lines()
    form = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} epochs{postfix}"
    return Bar(tqdm(total=1, bar_format=form, mininterval=0))


def byte_bar(name: str, n_bytes: int | None, *, progress: bool) -> tuple[Callable[[int], None], Callable[[], None]]:
    """Return what to call with the number of bytes sent so far, and what to call at the end."""
    tqdm = _tqdm() if progress else None
    if tqdm is not None:
        bar = tqdm(total=n_bytes, desc=name, unit="B", unit_scale=True, unit_divisor=1024)
        return lambda n_sent: bar.update(n_sent - bar.n), bar.close
    if not progress:
        return lambda n_sent: None, lambda: None
    shown_at = time.monotonic()

    def show(n_sent: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= _LINE_EVERY_S or n_sent == n_bytes:
            shown_at = time.monotonic()
            of = f" of {n_bytes / 1e6:.1f}" if n_bytes else ""
            print(f"{name}: {n_sent / 1e6:.1f}{of} MB sent", file=sys.stderr, flush=True)

    return show, lambda: None


def _tqdm() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a notebook without ipywidgets gets the bar of a terminal
            from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm
