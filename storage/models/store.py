"""The registry: immutable versions under a name, and aliases that point at them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from redis import Redis

from storage import keys
from storage.errors import (
    AliasNotFoundError,
    CorruptDataError,
    ModelNotFoundError,
    VersionInUseError,
    VersionNotFoundError,
)
from storage.jobs.description import DESCRIPTION, digest_of
from storage.models.trained_model import TrainedModel, decode_version
from storage.models.versions import Model, Version
from storage.scripts import load_script

_PAGE = 200
_N_IN_USE = 1_000


class ModelStore:
    """All models, in Redis. `Attempt.publish` adds versions."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis  # its types include decoded answers; ours are bytes

    def page(self, *, limit: int, after: str | None = None) -> tuple[list[Model], bool]:
        """Return up to `limit` models in the order of their names, and whether there are more.

        Args:
            after: the name of the last model of the page before.
        """
        start = "-" if after is None else f"({after}"
        names = self._redis.zrangebylex(keys.MODELS, start, "+", start=0, num=limit + 1)
        found = self.find([name.decode() for name in names[:limit]])
        return [model for model in found if model is not None], len(names) > limit

    def all(self) -> Iterator[Model]:
        """Yield every model in the order of their names, a page at a time."""
        after, has_more = None, True
        while has_more:
            page, has_more = self.page(limit=_PAGE, after=after)
            yield from page
            after, has_more = (page[-1].name, has_more) if page else (None, False)

    def get(self, model: str) -> Model:
        """Return the versions and aliases of one model.

        Raises:
            ModelNotFoundError: it has no version.
        """
        found = self.find([model])[0]
        if found is None:
            raise ModelNotFoundError(model)
        return found

    def find(self, models: Sequence[str]) -> list[Model | None]:
        """Return the versions and aliases of each model, all as of one moment; None for one that does not exist."""
        with self._redis.pipeline() as transaction:
            for model in models:
                transaction.zrange(keys.versions(model), 0, -1)
                transaction.hgetall(keys.aliases(model))
                transaction.hgetall(keys.digests(model))
            answers = transaction.execute()
        return [
            _model(model, numbers, aliases, digests) if numbers else None
            for model, numbers, aliases, digests in zip(models, answers[::3], answers[1::3], answers[2::3], strict=True)
        ]

    def resolve(self, model: str, *, version: int | None = None, alias: str | None = None) -> int:
        """Return the number of the version meant, by the rule of `Model.number`.

        Raises:
            ModelNotFoundError, VersionNotFoundError, AliasNotFoundError: what was named does not exist.
        """
        found = self.get(model)
        number = found.number(version, alias)
        if number is None:
            raise found.missing(version, alias)
        return number

    def with_versions(self, model: str) -> tuple[Model, list[Version]]:
        """Return one model with all its versions, in one round trip and as of one moment.

        Raises:
            ModelNotFoundError: it has no version.
        """
        with self._redis.pipeline() as transaction:
            transaction.zrange(keys.versions(model), 0, -1)
            transaction.hgetall(keys.aliases(model))
            transaction.hgetall(keys.digests(model))
            fields = [f"{keys.version(model, '*')}->{field}" for field in ("created_at_ms", "description")]
            transaction.sort(keys.versions(model), by="nosort", get=fields, groups=True)
            numbers, aliases, digests, versions = transaction.execute()
        if not numbers:
            raise ModelNotFoundError(model)
        found = _model(model, numbers, aliases, digests)
        return found, [
            _version(model, number, *fields) for number, fields in zip(found.versions, versions, strict=True)
        ]

    def get_version(self, model: str, number: int) -> Version:
        """Return one version without its weights.

        Raises:
            ModelNotFoundError, VersionNotFoundError: what was named does not exist.
        """
        return self._read(model, number, ())[0]

    def load(self, model: str, number: int) -> TrainedModel:
        """Return one version ready for use, its weights checked against their digest.

        Raises:
            ModelNotFoundError, VersionNotFoundError: what was named does not exist.
            CorruptDataError: the version is not what was published.
        """
        return decode_version(*self.load_bytes(model, number))

    def load_bytes(self, model: str, number: int) -> tuple[Version, bytes]:
        """Return one version and its weights as they were published, as safetensors bytes.

        Raises:
            ModelNotFoundError, VersionNotFoundError: what was named does not exist.
        """
        version, (weights,) = self._read(model, number, ("weights",))
        return version, weights

    def _read(self, model: str, number: int, more: Sequence[str]) -> tuple[Version, list[bytes]]:
        """Return one version with more fields of its record."""
        fields = self._redis.hmget(keys.version(model, number), "created_at_ms", "description", *more)
        if None in fields:
            self.get(model)
            raise VersionNotFoundError(model, number)
        return _version(model, number, *fields[:2]), fields[2:]

    def note_in_use(self, versions: Iterable[tuple[str, int]]) -> None:
        """Tell all API processes, also those that start later, that requests ask for these versions."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for model, number in versions:
                entry = {"model": model, "version": number}
                pipeline.xadd(keys.VERSIONS_IN_USE, entry, maxlen=_N_IN_USE, approximate=True)
            pipeline.publish(keys.CHANGES, "in-use")
            pipeline.execute()

    def in_use(self, after: str | None = None) -> tuple[list[tuple[str, int]], str | None]:
        """Return the versions that requests ask for, the newest first, and the end of what was read.

        Args:
            after: the end of what was read before.
        """
        entries = self._redis.xrevrange(keys.VERSIONS_IN_USE, "+", "-" if after is None else f"({after}")
        versions = [(entry[b"model"].decode(), int(entry[b"version"])) for _, entry in entries]
        return list(dict.fromkeys(versions)), entries[0][0].decode() if entries else after

    def set_alias(self, model: str, alias: str, number: int) -> None:
        """Point the alias at an existing version.

        Raises:
            ModelNotFoundError, VersionNotFoundError: what was named does not exist.
        """
        run = load_script(self._redis, "set_alias")
        if not run(keys=[keys.versions(model), keys.aliases(model)], args=[model, alias, number]):
            self.get(model)
            raise VersionNotFoundError(model, number)

    def delete_alias(self, model: str, alias: str) -> None:
        """Delete the alias; the version it points at stays.

        Raises:
            ModelNotFoundError, AliasNotFoundError: what was named does not exist.
        """
        if not load_script(self._redis, "delete_alias")(keys=[keys.aliases(model)], args=[model, alias]):
            self.get(model)
            raise AliasNotFoundError(model, alias)

    def delete_version(self, model: str, number: int) -> None:
        """Delete a version; its number is never used again.

        Raises:
            ModelNotFoundError, VersionNotFoundError: what was named does not exist.
            VersionInUseError: an alias points at it.
        """
        answer = load_script(self._redis, "delete_version")(
            keys=[
                keys.MODELS,
                keys.versions(model),
                keys.aliases(model),
                keys.version(model, number),
                keys.digests(model),
            ],
            args=[model, number],
        )
        if isinstance(answer, bytes):
            raise VersionInUseError(model, number, answer.decode())
        if not answer:
            self.get(model)
            raise VersionNotFoundError(model, number)

    def delete(self, model: str) -> None:
        """Delete a model with all its versions and aliases; its version numbers are never used again.

        Raises:
            ModelNotFoundError: it does not exist.
        """
        n_deleted = load_script(self._redis, "delete_model")(
            keys=[
                keys.MODELS,
                keys.versions(model),
                keys.aliases(model),
                keys.version(model, ""),
                keys.digests(model),
            ],
            args=[model],
        )
        if not n_deleted:
            raise ModelNotFoundError(model)


def _model(
    name: str, numbers: Sequence[bytes], aliases: Mapping[bytes, bytes], digests: Mapping[bytes, bytes]
) -> Model:
    return Model(
        name=name,
        versions=tuple(int(number) for number in numbers),
        aliases={alias.decode(): int(number) for alias, number in sorted(aliases.items())},
        digests={int(number): digest.decode() for number, digest in digests.items()},
    )


def _version(model: str, number: int, created_at_ms: bytes, description: bytes) -> Version:
    try:
        about = DESCRIPTION.validate_json(description)
        return Version(model, number, int(created_at_ms), about, digest_of(description))
    except ValueError as error:
        raise CorruptDataError(f"version {number} of model {model!r} cannot be read: {error}") from error
