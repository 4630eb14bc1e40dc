"""What to do about a key of the wrong type: name it, and go on with the rest."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from redis.client import Pipeline
from redis.exceptions import ResponseError

from storage.alarm import report
from storage.availability import is_wrong_type
from storage.errors import CorruptDataError

_Store = TypeVar("_Store")
_Rest = ParamSpec("_Rest")
_Answer = TypeVar("_Answer")


@contextmanager
def reported(what: str) -> Iterator[None]:
    """Report damaged data that the block meets, and go on after it.

    Args:
        what: where in Redis a key of the wrong type would be.
    """
    try:
        yield
    except CorruptDataError as error:
        report(error)
    except ResponseError as error:
        if not is_wrong_type(error):
            raise
        report(f"{what}: {error}")


def names(
    kind: str,
) -> Callable[[Callable[Concatenate[_Store, str, _Rest], _Answer]], Callable[Concatenate[_Store, str, _Rest], _Answer]]:
    """Decorate a method of a store, so that where a key has the wrong type, the error names the first argument.

    Args:
        kind: of what the first argument is the name.
    """

    def decorate(method: Callable[Concatenate[_Store, str, _Rest], _Answer]) -> Any:
        @functools.wraps(method)
        def named(store: _Store, name: str, *args: _Rest.args, **options: _Rest.kwargs) -> _Answer:
            try:
                return method(store, name, *args, **options)
            except ResponseError as error:
                if not is_wrong_type(error):
                    raise
                raise CorruptDataError(f"a key of {kind} {name!r} has another type: {error}") from error

        return named

    return decorate


def each_answer(pipeline: Pipeline) -> list[Any]:
    """Return the answers of a pipeline; that of a key of the wrong type is its error.

    Raises:
        redis.RedisError: any other error.
    """
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception) and not is_wrong_type(answer):
            raise answer
    return answers
