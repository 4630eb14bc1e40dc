"""The registry: immutable versions under a name, and aliases that point at them."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from redis import Redis

from storage import keys
from storage.alarm import report
from storage.codec import decode_names
from storage.damage import each_answer, names, reported
from storage.errors import (
    AliasNotFoundError,
    CorruptDataError,
    ModelNotFoundError,
    VersionInUseError,
    VersionNotFoundError,
)
from storage.jobs.description import DESCRIPTION, digest_of
from storage.jobs.known_tenants import every_tenant
from storage.log.faults import describe
from storage.models.trained_model import TrainedModel, decode_version
from storage.models.versions import VERSION_PATTERN, Model, Version
from storage.scripts import load_script
from storage.tenants import local, owned, tenant_of

_PAGE = 200
_N_IN_USE = 1_000

_is_number = re.compile(VERSION_PATTERN.encode()).fullmatch


class ModelStore:
    """All models, in Redis. `Attempt.publish` adds versions."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis  # its types include decoded answers; ours are bytes

    def page(self, *, limit: int, tenant: str = "", after: str | None = None) -> tuple[list[Model], bool]:
        """Return up to `limit` models of a tenant in the order of their names, and whether there are more.

        Args:
            after: the name of the last model of the page before.
        """
        page: list[Model] = []
        start = b"-" if after is None else b"(" + local(after).encode()
        while True:
            n_wanted = limit + 1 - len(page)
            members = self._redis.zrangebylex(keys.models(tenant), start, "+", start=0, num=n_wanted)
            for model in self.find(_owned(tenant, members)):
                if isinstance(model, CorruptDataError):
                    report(model)
                elif len(page) == limit:
                    return page, True
                elif model is not None:
                    page.append(model)
            if len(members) < n_wanted:
                return page, False
            start = b"(" + members[-1]

    def tenants(self) -> list[str]:
        """Return every tenant, and first the empty one."""
        return every_tenant(self._redis)

    def all(self, tenant: str = "") -> Iterator[Model]:
        """Yield every model of a tenant in the order of their names, a page at a time."""
        after, has_more = None, True
        while has_more:
            page, has_more = self.page(limit=_PAGE, tenant=tenant, after=after)
            yield from page
            after, has_more = (page[-1].name, has_more) if page else (None, False)

    @names("model")
    def get(self, model: str) -> Model:
        """Return the versions and aliases of one model.

        Raises:
            ModelNotFoundError: it has no version.
        """
        (found,) = self.find([model])
        if found is None or not keys.is_name(model):
            raise ModelNotFoundError(model)
        if isinstance(found, CorruptDataError):
            raise found
        return found

    def find(self, models: Sequence[str]) -> list[Model | CorruptDataError | None]:
        """Return the versions and aliases of each model, all as of one moment.

        None stands for one that does not exist, an error for one that cannot be read.
        """
        with self._redis.pipeline() as transaction:
            for model in models:
                if keys.is_name(model):
                    transaction.zrange(keys.versions(model), 0, -1)
                    transaction.hgetall(keys.aliases(model))
                    transaction.hgetall(keys.digests(model))
            answers = iter(each_answer(transaction))
        return [
            _model(model, next(answers), next(answers), next(answers))
            if keys.is_name(model)
            else CorruptDataError(
                f"{keys.models(tenant_of(model))} has the member {model[:100]!r}, which is no model's name"
            )
            for model in models
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

    @names("model")
    def with_versions(self, model: str) -> tuple[Model, list[Version]]:
        """Return one model with all its versions.

        They are read after the model, some at a time, so that Redis answers others in between. A version never
        changes. Where one was deleted meanwhile, all is read again.

        Raises:
            ModelNotFoundError: it has no version.
        """
        found = self.get(model)
        listed = []
        for start in range(0, len(found.versions), _PAGE):
            numbers = found.versions[start : start + _PAGE]
            with self._redis.pipeline(transaction=False) as pipeline:
                for number in numbers:
                    pipeline.hmget(keys.version(model, number), "created_at_ms", "description")
                answers = each_answer(pipeline)
            if [None, None] in answers and self.get(model).versions[: len(found.versions)] != found.versions:
                return self.with_versions(model)
            for number, fields in zip(numbers, answers, strict=True):
                with reported(f"version {number} of model {model!r}"):
                    if isinstance(fields, Exception):
                        raise fields
                    listed.append(_version(model, number, *fields))
        return found, listed

    @names("model")
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

    @names("model")
    def load_bytes(self, model: str, number: int) -> tuple[Version, bytes]:
        """Return one version and its weights as they were published, as safetensors bytes.

        Raises:
            ModelNotFoundError, VersionNotFoundError: what was named does not exist.
        """
        version, (weights,) = self._read(model, number, ("weights",))
        return version, weights

    def _read(self, model: str, number: int, more: Sequence[str]) -> tuple[Version, list[bytes]]:
        """Return one version with more fields of its record."""
        created_at_ms, description, feature_names, *others = self._redis.hmget(
            keys.version(model, number), "created_at_ms", "description", "feature_names", *more
        )
        if description is None and self.get(model).number(number) is None:
            raise VersionNotFoundError(model, number)
        version = _version(model, number, created_at_ms, description)
        if None in others:
            raise CorruptDataError(f"version {number} of model {model!r} has no {more[others.index(None)]}")
        if (digest := version.description.digests.feature_names) is not None:
            if feature_names is None or hashlib.sha256(feature_names).hexdigest() != digest:
                raise CorruptDataError(f"version {number} of model {model!r} has other feature names than published")
            description = replace(version.description, feature_names=decode_names(feature_names))
            version = replace(version, description=description)
        return version, others

    def note_in_use(self, versions: Iterable[tuple[str, int]]) -> None:
        """Tell all API processes, also those that start later, that requests ask for these versions."""
        with reported(keys.VERSIONS_IN_USE), self._redis.pipeline(transaction=False) as pipeline:
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
        entries: list[Any] = []
        with reported(keys.VERSIONS_IN_USE):
            entries = self._redis.xrevrange(keys.VERSIONS_IN_USE, "+", "-" if after is None else f"({after}")
        versions = []
        for entry_id, entry in entries:
            model, number = entry.get(b"model", b"").decode("ascii", "replace"), entry.get(b"version", b"")
            if keys.is_name(model) and _is_number(number):
                versions.append((model, int(number)))
            else:
                report(f"{keys.VERSIONS_IN_USE} has the entry {entry_id.decode()}, which names no version")
        return list(dict.fromkeys(versions)), entries[0][0].decode() if entries else after

    @names("model")
    def set_alias(self, model: str, alias: str, number: int) -> None:
        """Point the alias at an existing version.

        Raises:
            ModelNotFoundError, VersionNotFoundError: what was named does not exist.
        """
        run = load_script(self._redis, "set_alias")
        if not run(keys=[keys.versions(model), keys.aliases(model)], args=[local(model), alias, number]):
            self.get(model)
            raise VersionNotFoundError(model, number)

    @names("model")
    def delete_alias(self, model: str, alias: str) -> None:
        """Delete the alias; the version it points at stays.

        Raises:
            ModelNotFoundError, AliasNotFoundError: what was named does not exist.
        """
        if not load_script(self._redis, "delete_alias")(keys=[keys.aliases(model)], args=[local(model), alias]):
            self.get(model)
            raise AliasNotFoundError(model, alias)

    @names("model")
    def delete_version(self, model: str, number: int) -> None:
        """Delete a version; its number is never used again.

        Raises:
            ModelNotFoundError, VersionNotFoundError: what was named does not exist.
            VersionInUseError: an alias points at it.
        """
        answer = load_script(self._redis, "delete_version")(
            keys=[
                keys.models(tenant_of(model)),
                keys.versions(model),
                keys.aliases(model),
                keys.version(model, number),
                keys.digests(model),
            ],
            args=[local(model), number],
        )
        if isinstance(answer, bytes):
            raise VersionInUseError(model, number, answer.decode())
        if not answer:
            self.get(model)
            raise VersionNotFoundError(model, number)

    @names("model")
    def delete(self, model: str) -> None:
        """Delete a model with all its versions and aliases; its version numbers are never used again.

        Raises:
            ModelNotFoundError: it does not exist.
        """
        n_deleted = load_script(self._redis, "delete_model")(
            keys=[
                keys.models(tenant_of(model)),
                keys.versions(model),
                keys.aliases(model),
                keys.version(model, ""),
                keys.digests(model),
            ],
            args=[local(model)],
        )
        if not n_deleted:
            raise ModelNotFoundError(model)


def _owned(tenant: str, members: Iterable[bytes]) -> list[str]:
    """Return the names in a tenant's list; what would be another tenant's is reported and left out."""
    names = [member.decode("ascii", "replace") for member in members]
    for text in names:
        if "/" in text:
            report(f"{keys.models(tenant)} has the member {text[:100]!r}, which is no model's name")
    return [owned(tenant, text) for text in names if "/" not in text]


def _model(name: str, numbers: Any, aliases: Any, digests: Any) -> Model | CorruptDataError | None:
    """Return a model from its members of Redis, or from the errors that came in place of one of them."""
    for answer in (numbers, aliases, digests):
        if isinstance(answer, Exception):
            return CorruptDataError(f"a key of model {name!r} has another type: {answer}")
    if not numbers:
        return None
    versions = [int(number) for number in numbers if _is_number(number)]
    pointers = {alias.decode("ascii", "replace"): number for alias, number in sorted(aliases.items())}
    damaged = frozenset(alias for alias, number in pointers.items() if not _is_number(number))
    for what in (
        *(f"version {number[:100]!r}" for number in numbers if not _is_number(number)),
        *(f"alias {alias!r}, which names no version" for alias in damaged),
        *(f"digest of {number[:100]!r}, which is no version" for number in digests if not _is_number(number)),
    ):
        report(f"model {name!r} has the {what}")
    if not versions:
        return CorruptDataError(f"model {name!r} has no version with a number")
    return Model(
        name,
        tuple(versions),
        {alias: int(number) for alias, number in pointers.items() if alias not in damaged},
        damaged,
        {int(number): digest.decode("ascii", "replace") for number, digest in digests.items() if _is_number(number)},
    )


def _version(model: str, number: int, created_at_ms: bytes | None, description: bytes | None) -> Version:
    try:
        stored = description or b""
        return Version(model, number, int(created_at_ms or b""), DESCRIPTION.validate_json(stored), digest_of(stored))
    except ValueError as error:
        raise CorruptDataError(f"version {number} of model {model!r} cannot be read: {describe(error)}") from error
