"""The registry: immutable versions under a name, and aliases that point at them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from redis import Redis

from storage import keys
from storage.errors import (
    AliasNotFoundError,
    CorruptDataError,
    ModelNotFoundError,
    VersionInUseError,
    VersionNotFoundError,
)
from storage.scripts import load_script


@dataclass(frozen=True)
class Model:
    """What exists under one name."""

    name: str
    versions: tuple[int, ...]
    """In ascending order, at least one."""
    aliases: Mapping[str, int]


@dataclass(frozen=True)
class Version:
    """One immutable trained network."""

    model: str
    number: int
    created_at_ms: int
    description: Mapping[str, Any]
    """As it was published: task, network, training, metrics, digests and so on."""


class ModelStore:
    """All models, in Redis. `JobStore.publish` is what adds versions."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis  # its types allow for decoded answers too; ours are bytes
        self._set_alias = load_script(redis, "set_alias")
        self._delete_alias = load_script(redis, "delete_alias")
        self._delete_version = load_script(redis, "delete_version")
        self._delete_model = load_script(redis, "delete_model")

    def page(self, *, limit: int, after: str | None = None) -> tuple[list[Model], bool]:
        """Return up to `limit` models in the order of their names, and whether there are more.

        Args:
            after: the name of the last model of the page before.
        """
        start = "-" if after is None else f"({after}"
        names = self._redis.zrangebylex(keys.MODELS, start, "+", start=0, num=limit + 1)
        page = [model for name in names[:limit] if (model := self._read(name.decode())) is not None]
        return page, len(names) > limit

    def get(self, model: str) -> Model:
        """Return the versions and aliases of one model.

        Raises:
            ModelNotFoundError: it has no version.
        """
        found = self._read(model)
        if found is None:
            raise ModelNotFoundError(model)
        return found

    def _read(self, model: str) -> Model | None:
        return self.find([model])[0]

    def find(self, models: Sequence[str]) -> list[Model | None]:
        """Return the versions and aliases of each model, all as of one moment; None for one that does not exist."""
        with self._redis.pipeline() as transaction:
            for model in models:
                transaction.zrange(keys.versions(model), 0, -1)
                transaction.hgetall(keys.aliases(model))
            answers = transaction.execute()
        return [
            Model(
                name=model,
                versions=tuple(int(number) for number in numbers),
                aliases={alias.decode(): int(number) for alias, number in sorted(aliases.items())},
            )
            if numbers
            else None
            for model, numbers, aliases in zip(models, answers[::2], answers[1::2], strict=True)
        ]

    def resolve(self, model: str, *, version: int | None = None, alias: str | None = None) -> int:
        """Return the number of the version meant: the one given, the alias's, or else the latest.

        Raises:
            ModelNotFoundError, VersionNotFoundError, AliasNotFoundError: what was named does not exist.
        """
        if version is not None:
            if self._redis.zscore(keys.versions(model), str(version)) is not None:
                return version
        elif alias is not None:
            number = self._redis.hget(keys.aliases(model), alias)
            if number is not None:
                return int(number)
        else:
            latest = self._redis.zrevrange(keys.versions(model), 0, 0)
            if latest:
                return int(latest[0])
        if not self._redis.exists(keys.versions(model)):
            raise ModelNotFoundError(model)
        if version is not None:
            raise VersionNotFoundError(model, version)
        # A latest version exists by now: it can only have been published since it was looked for.
        if alias is None:
            return self.resolve(model)
        raise AliasNotFoundError(model, alias)

    def get_version(self, model: str, number: int) -> Version:
        """Return one version without its weights.

        Raises:
            ModelNotFoundError, VersionNotFoundError: what was named does not exist.
        """
        created_at_ms, description = self._redis.hmget(keys.version(model, number), "created_at_ms", "description")
        if description is None:
            self.resolve(model, version=number)
            raise VersionNotFoundError(model, number)
        return _version(model, number, created_at_ms, description)

    def load(self, model: str, number: int) -> tuple[Version, bytes]:
        """Return one version and its weights as safetensors bytes.

        Raises:
            ModelNotFoundError, VersionNotFoundError: what was named does not exist.
        """
        created_at_ms, description, weights = self._redis.hmget(
            keys.version(model, number), "created_at_ms", "description", "weights"
        )
        if description is None or weights is None:
            self.resolve(model, version=number)
            raise VersionNotFoundError(model, number)
        return _version(model, number, created_at_ms, description), weights

    def set_alias(self, model: str, alias: str, number: int) -> None:
        """Point the alias at an existing version.

        Raises:
            ModelNotFoundError, VersionNotFoundError: what was named does not exist.
        """
        if not self._set_alias(keys=[keys.versions(model), keys.aliases(model)], args=[model, alias, number]):
            self.get(model)
            raise VersionNotFoundError(model, number)

    def delete_alias(self, model: str, alias: str) -> None:
        """Forget the alias; the version it points at stays.

        Raises:
            ModelNotFoundError, AliasNotFoundError: what was named does not exist.
        """
        if not self._delete_alias(keys=[keys.aliases(model)], args=[model, alias]):
            self.get(model)
            raise AliasNotFoundError(model, alias)

    def delete_version(self, model: str, number: int) -> None:
        """Delete a version for ever; its number is not used again.

        Raises:
            ModelNotFoundError, VersionNotFoundError: what was named does not exist.
            VersionInUseError: an alias names it.
        """
        answer = self._delete_version(
            keys=[keys.MODELS, keys.versions(model), keys.aliases(model), keys.version(model, number)],
            args=[model, number],
        )
        if isinstance(answer, bytes):
            raise VersionInUseError(model, number, answer.decode())
        if not answer:
            self.get(model)
            raise VersionNotFoundError(model, number)

    def delete(self, model: str) -> None:
        """Delete a model with all its versions and aliases; its version numbers are not used again.

        Raises:
            ModelNotFoundError: it does not exist.
        """
        n_deleted = self._delete_model(
            keys=[keys.MODELS, keys.versions(model), keys.aliases(model), keys.version(model, "")],
            args=[model],
        )
        if not n_deleted:
            raise ModelNotFoundError(model)


def _version(model: str, number: int, created_at_ms: bytes | None, description: bytes) -> Version:
    try:
        return Version(model, number, int(created_at_ms or 0), orjson.loads(description))
    except ValueError as error:
        raise CorruptDataError(f"version {number} of model {model!r} cannot be read: {error}") from error
