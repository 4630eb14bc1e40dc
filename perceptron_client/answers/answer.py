"""What all answers have in common: they are read from JSON, keep it, and show members that they do not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from perceptron_client.errors import UnexpectedAnswer


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Answer:
    """An answer of the service. Members that this client does not know are attributes, too."""

    raw: Mapping[str, Any]
    """The service's own JSON, as it came."""

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Read an answer.

        Raises:
            UnexpectedAnswer: a member is missing or has another type than this client knows.
        """
        try:
            return cls(**cls.members_of(raw), raw=raw)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            what = f"it has no member {error}" if isinstance(error, KeyError) else str(error)
            raise UnexpectedAnswer(f"the answer cannot be read as {cls.__name__}: {what}") from error

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name != "raw" and name in self.raw:
            return self.raw[name]
        raise AttributeError(f"{type(self).__name__} has no member {name!r}")

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, Answer) and type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self.raw.get("id"), self.raw.get("name"), self.raw.get("version")))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of, (self.raw,)

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={_short(getattr(self, field.name))}"
            for field in fields(self)
            if field.repr and field.name != "raw"
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def time_of(text: str | None) -> datetime | None:
    """Read a time (RFC 3339)."""
    return None if text is None else datetime.fromisoformat(text)


def array_of(values: Any) -> NDArray[Any]:
    """Return an array that cannot be written to."""
    array = np.asarray(values)
    array.flags.writeable = False
    return array


def array_or_none(values: Any) -> NDArray[Any] | None:
    """Return an array that cannot be written to; None for None."""
    return None if values is None else array_of(values)


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array{value.shape}"
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
