"""One finding, and how a check that fails becomes one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """What one check found out."""

    area: str
    """machine, redis, blob store, service or workers"""
    name: str
    state: State
    detail: str
    remedy: str | None = None
    """What to do, where a command is known as one that can be pasted."""

    def as_json(self) -> dict[str, Any]:
        """Return the finding as JSON."""
        return asdict(self)


def ok(area: str, name: str, detail: str) -> Finding:
    """Make a finding of something that is as it should be."""
    return Finding(area, name, "ok", detail)


def warning(area: str, name: str, detail: str, remedy: str) -> Finding:
    """Make a finding of something that works and may fail later."""
    return Finding(area, name, "warning", detail, remedy)


def problem(area: str, name: str, detail: str, remedy: str) -> Finding:
    """Make a finding of something that does not work."""
    return Finding(area, name, "problem", detail, remedy)


def run(area: str, checks: Iterable[Callable[[], Iterable[Finding]]]) -> Iterator[Finding]:
    """Run checks one after another. One that fails in a way that nobody thought of is a finding, too."""
    for check in checks:
        try:
            yield from check()
        except Exception as error:
            function = check.func if isinstance(check, partial) else check
            name = function.__name__.strip("_").replace("_", " ")
            detail = f"could not be checked: {type(error).__name__}: {str(error)[:200]}"
            yield problem(area, name, detail, "run 'perceptron doctor' again; if it stays so, please report it")


def size(n_bytes: float) -> str:
    """Return a number of bytes for people."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.3g} {unit}"
    return f"{n_bytes:.0f} bytes"
