"""A model's name with a version or an alias, in one text: in settings, headers and queries."""

import re
from dataclasses import dataclass

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_REFERENCE = re.compile(rf"({_NAME})(?:@({_NAME})|/([1-9][0-9]{{0,14}}))?")


@dataclass(frozen=True, slots=True)
class ModelReference:
    """Which version of which model is meant: one by number, an alias's, or the latest."""

    model: str
    version: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ModelReference":
        """Read `churn`, `churn@production` or `churn/3`, as MLflow writes them after `models:/`.

        Raises:
            ValueError: it is none of these.
        """
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise ValueError(f"must be like churn, churn@production or churn/3, not {text[:200]!r}")
        model, alias, version = match.groups()
        return cls(model, int(version) if version else None, alias)
