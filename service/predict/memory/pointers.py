"""Where the names of a model's versions point: the latest, its aliases, and which versions there are."""

from collections.abc import Mapping
from dataclasses import dataclass

from storage.errors import AliasNotFoundError, ModelNotFoundError, VersionNotFoundError
from storage.models.store import Model


@dataclass(slots=True)
class Pointers:
    """What Redis said of one model."""

    versions: frozenset[int]
    """None when there is no such model."""
    latest: int
    aliases: Mapping[str, int]
    is_fresh: bool
    """Whether nothing was heard that could have changed it since."""

    @classmethod
    def of(cls, model: Model | None, *, is_fresh: bool) -> "Pointers":
        """Keep what the store says of a model."""
        if model is None:
            return cls(frozenset(), 0, {}, is_fresh)
        return cls(frozenset(model.versions), model.versions[-1], model.aliases, is_fresh)

    def number(self, version: int | None, alias: str | None) -> int | None:
        """Return the number of the version given, the alias's, or else the latest; None when there is none."""
        if version is not None:
            return version if version in self.versions else None
        if alias is not None:
            return self.aliases.get(alias)
        return self.latest or None

    def is_gone(self, version: int | None) -> bool:
        """Whether the version can never come: numbers rise, are never used twice, and this one was passed by."""
        return version is not None and version < self.latest and version not in self.versions

    def missing(self, model: str, version: int | None, alias: str | None) -> Exception:
        """Make the error that says what does not exist."""
        if not self.versions:
            return ModelNotFoundError(model)
        if version is not None:
            return VersionNotFoundError(model, version)
        return AliasNotFoundError(model, alias or "")
