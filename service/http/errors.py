"""What can be wrong with a request, and the one table that turns errors into answers (RFC 9457). No Flask, no Redis.

RequestError
|-- MalformedJsonError
|-- BadRequestError
|-- UnauthenticatedError
|-- ForbiddenError
|-- ProxiedError
|-- OtherOriginError
|-- RateLimitedError
|-- MisdirectedError
|-- UnsupportedMediaTypeError
|   `-- UnsupportedEncodingError
|-- NotAcceptableError
|-- LengthRequiredError
|-- BodyTooLargeError
|-- BusyError
|-- ClientGoneError
|-- TableError
`-- InvalidRequestError
    |-- WrongDimensionError
    |-- TargetOutOfRangeError
    `-- OutputTooLargeError

StartingError is an UnavailableError of `storage`.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

import perceptron
from service.http.wire import PROBLEM, Header, HttpAnswer
from storage.alarm import report
from storage.errors import (
    AliasNotFoundError,
    CorruptDataError,
    DatasetInUseError,
    DatasetNotFoundError,
    DatasetsFullError,
    IdempotencyKeyReusedError,
    JobAlreadyDoneError,
    JobNotFoundError,
    ModelNotFoundError,
    NoNetworkError,
    QueueFullError,
    UnavailableError,
    VersionInUseError,
    VersionNotFoundError,
)
from storage.log.throttle import Throttle
from storage.log.unexpected import log_unexpected

RETRY_AFTER_S = 1

_throttles: defaultdict[type[BaseException], Throttle] = defaultdict(Throttle)
"""Of warnings about stores that are away, by their reason: one must not hide another."""

_log = logging.getLogger(__name__)


class RequestError(Exception):
    """Base of all errors of requests."""


class BadRequestError(RequestError):
    """The request is invalid in a way that its protocol answers with 400."""


class UnauthenticatedError(RequestError):
    """There is no access key in force. The message does not tell why: that is for the log."""

    def __init__(self, reason: str, key_id: str | None = None) -> None:
        super().__init__(
            "send an access key that is in force: in the header Authorization, as Bearer psk_..., or in X-API-Key"
        )
        self.reason = reason
        self.key_id = key_id


class ForbiddenError(RequestError):
    """The access key does not allow this."""

    def __init__(self, enough: Sequence[str], scopes: Sequence[str], *, tenant: str = "") -> None:
        if tenant:
            detail = f"this needs an access key without a tenant, and this one is of the tenant {tenant}"
        else:
            has = f"this access key has {', '.join(scopes)}"
            detail = f"this needs an access key with the scope {' or '.join(enough)}; {has}"
        super().__init__(detail)


class ProxiedError(RequestError):
    """The request came from another machine through a proxy, and there is no access key."""

    def __init__(self, header: str) -> None:
        super().__init__(
            f"this request came from another machine through a proxy, as its header {header} says, and there is no "
            "access key, so whoever reaches the proxy could do everything: make a key with 'perceptron keys create "
            "--scope admin', or let everybody in with --insecure (INSECURE=true)"
        )


class OtherOriginError(RequestError):
    """A page of another origin sent the request, and there is no access key."""

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"a page of another origin, {origin[:255]!r}, sent this request, and there is no access key, so any page "
            "that is open in a browser here could do everything: name its origin in CORS_ORIGINS, or make a key with "
            "'perceptron keys create --scope admin'"
        )


_SETTINGS_OF_RATES = {"key": "MAX_KEY_REQUESTS_PER_S", "tenant": "MAX_TENANT_REQUESTS_PER_S"}


class RateLimitedError(RequestError):
    """One request too many in a second.

    Args:
        whose: "key", "tenant" or "address".
        what: is limited.
    """

    def __init__(self, whose: str, most_per_s: int, what: str = "requests") -> None:
        limit = f"{most_per_s:,} {what} a second"
        if whose in _SETTINGS_OF_RATES:
            limit += f" ({_SETTINGS_OF_RATES[whose]})"
        super().__init__(f"this {whose} may send {limit}: send it again later")
        fields = {
            "ratelimit-policy": f'"{whose}";q={most_per_s};w=1',
            "ratelimit": f'"{whose}";r=0;t={RETRY_AFTER_S}',
            "x-ratelimit-limit": str(most_per_s),
            "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": str(RETRY_AFTER_S),
        }
        self.headers: tuple[Header, ...] = tuple((name.encode(), value.encode()) for name, value in fields.items())


class StartingError(UnavailableError):
    """This process has just started, and is not ready yet."""


class MisdirectedError(RequestError):
    """The Host header names a host that this service does not answer for."""


class UnsupportedMediaTypeError(RequestError):
    """The route does not accept the body's media type or encoding."""


class UnsupportedEncodingError(UnsupportedMediaTypeError):
    """The service cannot decode the body's Content-Encoding."""


class NotAcceptableError(RequestError):
    """The route cannot answer in any media type of the Accept header."""


class LengthRequiredError(RequestError):
    """There is no Content-Length, so the size of the body is not known in advance."""


class BodyTooLargeError(RequestError):
    """The body, or what it takes to answer it, is larger than the limit."""


class BusyError(RequestError):
    """The requests under way leave no room for this one."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a request."""

    pointer: str
    """JSON pointer (RFC 6901) into the body; for a query parameter or header, `/` and its name."""
    detail: str


class MalformedJsonError(RequestError):
    """The body is not a JSON object (RFC 8259)."""

    def __init__(self, detail: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.faults = faults


class InvalidRequestError(RequestError):
    """The request is well formed but cannot be carried out."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        first = f"{faults[0].pointer or 'the body'}: {faults[0].detail}"
        super().__init__(first if len(faults) == 1 else f"{first} (and {len(faults) - 1} more)")
        self.faults = faults


class WrongDimensionError(InvalidRequestError):
    """An instance has another number of features than the model."""


class TargetOutOfRangeError(InvalidRequestError):
    """The activation cannot give a value of the column of targets."""


class OutputTooLargeError(InvalidRequestError):
    """The output for an instance is not finite; the fault points at the instance."""


class TableError(RequestError):
    """A file is no table that we take."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        row: int | None = None,
        line: int | None = None,
        column: str | None = None,
        value: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Note what is wrong, and where.

        Args:
            row: of the data, from 0.
            line: of the file, from 1.
            more: other members of the answer, such as the limit.
        """
        super().__init__(detail)
        self.code = code
        where = {"row": row, "line": line, "column": column, "value": None if value is None else value[:200]}
        self.members: dict[str, Any] = {k: v for k, v in where.items() if v is not None} | dict(more or {})

    @property
    def status(self) -> int:
        """The status of the answer."""
        return _STATUS_OF_TABLES.get(self.code, 422)


_STATUS_OF_TABLES = {"malformed_encoding": 400, "malformed_json": 400, "too_large": 413}


class ClientGoneError(RequestError):
    """The client has closed the connection, so the work has ended; nobody reads this answer."""


STATUS_AND_CODE: dict[type[Exception], tuple[int, str]] = {
    MalformedJsonError: (400, "malformed_json"),
    BadRequestError: (400, "bad_request"),
    UnauthenticatedError: (401, "unauthenticated"),
    ForbiddenError: (403, "forbidden"),
    ProxiedError: (403, "forbidden"),
    OtherOriginError: (403, "forbidden"),
    RateLimitedError: (429, "rate_limited"),
    MisdirectedError: (421, "unknown_host"),
    NotAcceptableError: (406, "not_acceptable"),
    LengthRequiredError: (411, "length_required"),
    BodyTooLargeError: (413, "too_large"),
    BusyError: (503, "busy"),
    ClientGoneError: (408, "request_timeout"),
    UnsupportedMediaTypeError: (415, "unsupported_media_type"),
    WrongDimensionError: (422, "wrong_dimension"),
    TargetOutOfRangeError: (422, "targets_out_of_range"),
    OutputTooLargeError: (422, "output_not_finite"),
    InvalidRequestError: (422, "invalid_request"),
    perceptron.TargetsOutOfRangeError: (422, "targets_out_of_range"),
    perceptron.DimensionError: (422, "wrong_dimension"),
    perceptron.OutputNotFiniteError: (422, "output_not_finite"),
    perceptron.PerceptronError: (422, "invalid_request"),
    QueueFullError: (429, "rate_limited"),
    DatasetsFullError: (413, "too_large"),
    JobNotFoundError: (404, "job_not_found"),
    ModelNotFoundError: (404, "model_not_found"),
    VersionNotFoundError: (404, "version_not_found"),
    AliasNotFoundError: (404, "alias_not_found"),
    NoNetworkError: (409, "no_network"),
    JobAlreadyDoneError: (409, "job_already_done"),
    VersionInUseError: (409, "version_in_use"),
    DatasetNotFoundError: (404, "dataset_not_found"),
    DatasetInUseError: (409, "dataset_in_use"),
    IdempotencyKeyReusedError: (422, "idempotency_key_reused"),
    UnavailableError: (503, "unavailable"),
}


_HEADERS: dict[type[Exception], tuple[Header, ...]] = {
    UnsupportedEncodingError: ((b"accept-encoding", b"gzip, deflate"),),
    UnauthenticatedError: ((b"www-authenticate", b"Bearer"),),
}
"""The headers that only the answers to these errors have."""


def problem_body(status: int, code: str, detail: str, *, request_id: str | None) -> dict[str, Any]:
    """Return the members that every error answer has."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        "error": detail,
    }


def problem_answer(
    status: int,
    code: str,
    detail: str,
    *,
    request_id: str | None,
    faults: Sequence[Fault] = (),
    headers: tuple[Header, ...] = (),
    members: Mapping[str, Any] | None = None,
) -> HttpAnswer:
    """Return an error answer.

    Args:
        detail: what is wrong with this request, in a sentence. Clients of the Open Inference Protocol read it in
            the member `error`.
        members: those that only this error has.
    """
    body = problem_body(status, code, detail, request_id=request_id) | dict(members or {})
    if faults:
        body["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults]
    retry_after = ((b"retry-after", b"%d" % RETRY_AFTER_S),) if status in (429, 503) else ()
    return HttpAnswer(status, PROBLEM, orjson.dumps(body), retry_after + headers)


def answer_to(error: Exception, *, request_id: str | None) -> HttpAnswer:
    """Return the answer that the table gives for an error; an unknown error is our fault: 500.

    Errors of redis-py must have become an `UnavailableError` before.
    """
    about = {} if request_id is None else {"request_id": request_id}
    if isinstance(error, CorruptDataError):
        # No client caused it, and restored data mends it.
        report(error)
        _log.warning("request %s: %s", request_id, error, extra=about)
        detail = "what is stored is not what was written there; the service's log has the details under the request_id"
        return problem_answer(503, "unavailable", detail, request_id=request_id)
    if isinstance(error, UnavailableError):
        reason = error.__cause__ or error
        if isinstance(error, StartingError):
            _log.debug("request %s: %s", request_id, reason, extra=about)
        elif _throttles[type(reason)].allows():  # each request has its own line, too, with its status
            _log.warning("request %s: %s", request_id, reason, extra=about)
    if isinstance(error, TableError):
        return problem_answer(error.status, error.code, str(error), request_id=request_id, members=error.members)
    for kind in type(error).__mro__:
        if kind in STATUS_AND_CODE:
            status, code = STATUS_AND_CODE[kind]
            headers = error.headers if isinstance(error, RateLimitedError) else _HEADERS.get(type(error), ())
            return problem_answer(
                status, code, str(error), request_id=request_id, faults=_faults(error), headers=headers
            )
    log_unexpected(_log, error, "request %s met an unexpected error", request_id, **about)
    detail = "an unexpected error; the service's log has the details under the request_id"
    return problem_answer(500, "internal", detail, request_id=request_id)


def _faults(error: Exception) -> Sequence[Fault]:
    match error:
        case InvalidRequestError() | MalformedJsonError():
            return error.faults
        case perceptron.InvalidConfigError():
            return [Fault("/" + error.field, str(error))]
        case perceptron.TargetsOutOfRangeError():
            return [Fault(f"/data/targets/{error.index}", str(error))]
        case perceptron.InvalidDatasetError():
            return [Fault("/data", str(error))]
        case perceptron.OutputNotFiniteError():
            return [Fault(f"/instances/{error.index}", str(error))]
    return ()
