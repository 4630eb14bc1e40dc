"""What a client should know about the rows that it sent, though they are answered."""

from dataclasses import dataclass

MAX_SHOWN = 100


@dataclass(frozen=True, slots=True)
class InputWarning:
    """One thing about one place of the body."""

    pointer: str
    code: str
    """unknown_category, missing_value, unknown_key; more_warnings for those that are not shown"""
    detail: str


@dataclass(frozen=True, slots=True)
class InputWarnings:
    """The warnings of one request: their number, and the first of them, at most `MAX_SHOWN`."""

    n: int
    first: tuple[InputWarning, ...]

    def shown(self, pointer: str) -> list[InputWarning]:
        """Return the first warnings and, if there are more, one at the end that counts them.

        Args:
            pointer: where that last one points to.
        """
        n_more = self.n - len(self.first)
        last = [InputWarning(pointer, "more_warnings", f"{n_more} more warnings are not shown")] if n_more else []
        return [*self.first, *last]
