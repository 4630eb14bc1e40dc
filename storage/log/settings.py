"""LOG_FORMAT and LOG_LEVEL. Cheap to import: the command reads them, too."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

FORMAT_SETTING, LEVEL_SETTING = "LOG_FORMAT", "LOG_LEVEL"

Format: TypeAlias = Literal["json", "text"]

_LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error", "critical")}


@dataclass(frozen=True)
class LogSettings:
    """What is logged, and in which form."""

    format: Format | None = None
    """None: text on a terminal, JSON elsewhere."""
    level: int = logging.INFO

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "LogSettings":
        """Read the environment.

        Raises:
            ValueError: a setting has another value than those it may have.
        """
        form = env.get("LOG_FORMAT", "").lower()
        level = env.get("LOG_LEVEL", "").lower() or "info"
        if form not in ("json", "text", ""):
            raise ValueError(f"{FORMAT_SETTING} must be json or text, not {form[:200]!r}")
        if level not in _LEVELS:
            raise ValueError(f"{LEVEL_SETTING} must be one of {', '.join(_LEVELS)}, not {level[:200]!r}")
        return cls("json" if form == "json" else "text" if form == "text" else None, _LEVELS[level])

    def format_for(self, *, is_terminal: bool) -> Format:
        """Return the form of the lines."""
        return self.format or ("text" if is_terminal else "json")
