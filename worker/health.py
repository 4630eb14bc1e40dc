"""The file that shows the health check of a container that the worker goes on: `cli.health` reads its age."""

from contextlib import suppress
from pathlib import Path

from redis.backoff import ExponentialBackoff


class HealthFile:
    """Touched by whatever the worker does every few seconds; None: there is no health check."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def touch(self) -> None:
        """Show that the worker goes on."""
        if self._path is not None:
            with suppress(OSError):  # a full or read-only disk stops no training
                self._path.touch()


class TouchingBackoff(ExponentialBackoff):
    """Touches the file between the retries of a command: while Redis hangs, they take many minutes."""

    def __init__(self, health_file: HealthFile, *, cap: float, base: float) -> None:
        super().__init__(cap=cap, base=base)
        self._health_file = health_file

    def compute(self, failures: int) -> float:
        """Return the seconds to wait."""
        self._health_file.touch()
        return super().compute(failures)
