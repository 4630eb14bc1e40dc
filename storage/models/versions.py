"""The versions and aliases of a model, and the rule for which version a request means. Knows nothing of Redis."""

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from storage.errors import AliasNotFoundError, CorruptDataError, StorageError, VersionNotFoundError
from storage.jobs.description import Description
from storage.keys import NAME_PATTERN

VERSION_PATTERN = r"[1-9][0-9]{0,14}"
MAX_VERSION = 10**15 - 1
"""The same bound as a number: 15 digits, which a 64-bit float, and so every JSON parser, holds exactly."""

_REFERENCE = re.compile(rf"({NAME_PATTERN})(?:@({NAME_PATTERN})|/({VERSION_PATTERN}))?")


@dataclass(frozen=True, slots=True)
class ModelReference:
    """Which version of which model is meant: the one with this number, the alias's, or else the latest."""

    model: str
    version: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ModelReference":
        """Read `churn`, `churn@production` or `churn/3`, as MLflow writes them after `models:/`.

        Raises:
            ValueError: the text has another form.
        """
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise ValueError(f"must be like churn, churn@production or churn/3, not {text[:200]!r}")
        model, alias, version = match.groups()
        return cls(model, int(version) if version else None, alias)


@dataclass(frozen=True)
class Model:
    """What exists under one name."""

    name: str
    versions: tuple[int, ...]
    """In ascending order, at least one."""
    aliases: Mapping[str, int]
    damaged_aliases: frozenset[str] = frozenset()
    """Those that are stored, but not with the number of a version."""
    digests: Mapping[int, str] = field(default_factory=dict)
    """Of each version, as `Version.digest`; versions that older code published have none."""

    @property
    def latest(self) -> int:
        """The version meant where none is named."""
        return self.versions[-1]

    def number(self, version: int | None = None, alias: str | None = None) -> int | None:
        """Return the number of the version meant: the one given, the alias's, or else the latest. None: not found."""
        if version is None:
            return self.versions[-1] if alias is None else self.aliases.get(alias)
        at = bisect_left(self.versions, version)
        return version if self.versions[at : at + 1] == (version,) else None

    def missing(self, version: int | None = None, alias: str | None = None) -> StorageError:
        """Return the error that says what `number` did not find."""
        if version is not None:
            return VersionNotFoundError(self.name, version)
        if alias in self.damaged_aliases:
            return CorruptDataError(f"alias {alias!r} of model {self.name!r} names no version")
        return AliasNotFoundError(self.name, alias or "")


@dataclass(frozen=True)
class Version:
    """One immutable trained network."""

    model: str
    number: int
    created_at_ms: int
    description: Description
    """As it was published."""
    digest: str
    """sha256 of the description as it is stored, which holds those of the weights and of names stored beside it.

    Tells the version from another one with the same number, which there is after a failover to a replica that lacked
    this one, and after a backup was restored.
    """
