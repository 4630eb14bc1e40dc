"""What can go wrong. Catch by kind; each kind has a class for each `code` of the service below it.

    PerceptronError
    |-- ConnectionFailed                  also a ConnectionError: refused, reset, no such host
    |-- RequestTimedOut                   also a TimeoutError
    |-- UnexpectedAnswer                  what answered is not Perceptron Service
    |-- InvalidArgument                   also a ValueError: refused before anything was sent
    |-- PackageMissing                    also an ImportError: an extra is not installed
    |-- JobFailed                         jobs.wait: the training failed; .job, .code
    |-- JobCancelled                      jobs.wait: the job was cancelled; .job
    |-- JobNotDone                        jobs.wait: timeout_s passed, also a TimeoutError; .job
    `-- ApiError                          the service refused: .status .code .detail .errors .request_id .retry_after_s
        |-- BadRequest                    400
        |   |-- MalformedJson  MalformedEncoding
        |-- Unauthenticated               401
        |-- Forbidden                     403
        |-- NotFound                      404
        |   |-- JobNotFound  ModelNotFound  VersionNotFound  AliasNotFound  DatasetNotFound
        |-- MethodNotAllowed              405
        |-- NotAcceptable                 406
        |-- RequestTimeout                408
        |-- Conflict                      409
        |   |-- JobAlreadyDone  VersionInUse  DatasetInUse  NoNetwork
        |-- LengthRequired                411
        |-- TooLarge                      413
        |-- UriTooLong                    414
        |-- UnsupportedMediaType          415
        |-- UnknownHost                   421
        |-- Invalid                       422, also a ValueError
        |   |-- InvalidRequest  TargetsOutOfRange  WrongDimension  OutputNotFinite  IdempotencyKeyReused
        |   `-- InvalidTable              an upload is no table that the service takes; where: .members
        |       |-- NotUtf8  WrongCharset  EmptyFile  NoRows  EmptyName  DuplicateNames  RaggedRow  UnclosedQuote
        |       |-- StrayQuote  FieldTooLong  MalformedCsv  NotRecords  MixedColumn  NotFinite  UnequalLengths
        |       `-- UnsupportedType  UnsupportedShape  PickledObjects  DamagedFile  Truncated
        |-- RateLimited                   429
        |-- HeadersTooLarge               431
        |-- ServerFault                   500, 502, 504 and other 5xx
        |   `-- Internal
        `-- Unavailable                   503
            `-- Busy

A code that this client does not know becomes the class of its status.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perceptron_client.answers.jobs import Job

MAX_SHOWN = 5
"""How many entries of `errors` a message shows."""


class PerceptronError(Exception):
    """Base of all errors of this client."""


class ConnectionFailed(PerceptronError, ConnectionError):
    """The service cannot be reached."""


class RequestTimedOut(PerceptronError, TimeoutError):
    """No answer came within `timeout_s`."""


class UnexpectedAnswer(PerceptronError):
    """What answered is not Perceptron Service, or a version of it that this client cannot read."""


class InvalidArgument(PerceptronError, ValueError):
    """An argument cannot be sent."""


class PackageMissing(PerceptronError, ImportError):
    """A package is needed that is not installed."""


class JobFailed(PerceptronError):
    """The training failed. `code` says why: diverged, invalid_data, out_of_memory, time_limit, ..."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.code = job.error.code if job.error else "unknown"
        super().__init__(f"{job.id} failed: {self.code}: {job.error.detail if job.error else 'no reason is given'}")


class JobCancelled(PerceptronError):
    """The job was cancelled."""

    def __init__(self, job: Job) -> None:
        self.job = job
        super().__init__(f"{job.id} was cancelled")


class JobNotDone(PerceptronError, TimeoutError):
    """The job is not done yet."""

    def __init__(self, job: Job, timeout_s: float) -> None:
        self.job = job
        super().__init__(f"{job.id} is still {job.status} after {timeout_s:g} s; it goes on")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a request."""

    pointer: str
    """JSON pointer into the body, or a slash and the name of a parameter or header."""
    detail: str


class ApiError(PerceptronError):
    """The service answered with an error (RFC 9457)."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: tuple[Fault, ...] = (),
        request_id: str | None = None,
        retry_after_s: float | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        """Note what the service said.

        Args:
            members: the whole answer; of an invalid table with row, line, column and value.
        """
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.members = dict(members or {})
        super().__init__(self._message())

    def _message(self) -> str:
        request = f", request {self.request_id}" if self.status >= 500 and self.request_id else ""
        head = f"{self.code} ({self.status}{request})"
        if len(self.errors) < 2:
            return f"{head}: {self.detail}"
        lines = [f"  {fault.pointer or 'the body'}: {fault.detail}" for fault in self.errors[:MAX_SHOWN]]
        if len(self.errors) > MAX_SHOWN:
            lines.append(f"  and {len(self.errors) - MAX_SHOWN} more")
        return "\n".join([f"{head}: {len(self.errors)} faults", *lines])

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.status, self.code, self.detail, {**vars(self)})


def _rebuilt(kind: type[ApiError], status: int, code: str, detail: str, state: dict[str, Any]) -> ApiError:
    more = {name: state[name] for name in ("errors", "request_id", "retry_after_s", "members")}
    return kind(status, code, detail, **more)


class BadRequest(ApiError):
    """400."""


class MalformedJson(BadRequest):
    """The body is not a JSON object, is nested too deeply, or holds NaN or Infinity."""


class MalformedEncoding(BadRequest):
    """A compressed body or file is cut off or damaged."""


class Unauthenticated(ApiError):
    """401: no access key in force was sent."""


class Forbidden(ApiError):
    """403: the access key does not allow it; `detail` names the scopes that would do."""


class NotFound(ApiError):
    """404."""


class JobNotFound(NotFound):
    """There is no such job."""


class ModelNotFound(NotFound):
    """There is no such model."""


class VersionNotFound(NotFound):
    """The model has no such version."""


class AliasNotFound(NotFound):
    """The model has no such alias."""


class DatasetNotFound(NotFound):
    """There is no such data set."""


class MethodNotAllowed(ApiError):
    """405."""


class NotAcceptable(ApiError):
    """406."""


class RequestTimeout(ApiError):
    """408: the service waited too long for the rest of the request."""


class Conflict(ApiError):
    """409: the state does not allow it."""


class JobAlreadyDone(Conflict):
    """A job that has succeeded or failed cannot be cancelled."""


class VersionInUse(Conflict):
    """An alias points at the version."""


class DatasetInUse(Conflict):
    """A job that is not done needs the data set."""


class NoNetwork(Conflict):
    """The job has no network to predict with."""


class LengthRequired(ApiError):
    """411."""


class TooLarge(ApiError):
    """413: the message names the limit."""


class UriTooLong(ApiError):
    """414."""


class UnsupportedMediaType(ApiError):
    """415."""


class UnknownHost(ApiError):
    """421: the service does not answer for the host in the address."""


class Invalid(ApiError, ValueError):
    """422: well formed, but not valid; `errors` says what and where."""


class InvalidRequest(Invalid):
    """A member of the request is not valid."""


class TargetsOutOfRange(Invalid):
    """The activation can never give a target."""


class WrongDimension(Invalid):
    """An instance has another number of features than the model."""


class OutputNotFinite(Invalid):
    """An output is too large for a float."""


class IdempotencyKeyReused(Invalid):
    """The key belongs to another request."""


class InvalidTable(Invalid):
    """An upload is no table that the service takes. `members` has row, line, column and value where there are any."""


class NotUtf8(InvalidTable):
    """Name the charset."""


class WrongCharset(InvalidTable):
    """The text is not in the charset named."""


class EmptyFile(InvalidTable):
    """There is nothing in the file."""


class NoRows(InvalidTable):
    """There are only names."""


class EmptyName(InvalidTable):
    """A column has no name."""


class DuplicateNames(InvalidTable):
    """Two columns have one name."""


class RaggedRow(InvalidTable):
    """A row is not as wide as the header."""


class UnclosedQuote(InvalidTable):
    """A quote is not closed."""


class StrayQuote(InvalidTable):
    """There is a quote within an unquoted field."""


class FieldTooLong(InvalidTable):
    """A line or a field is longer than the limit."""


class MalformedCsv(InvalidTable):
    """The text cannot be read as delimited text."""


class NotRecords(InvalidTable):
    """The JSON is not a list of records."""


class MixedColumn(InvalidTable):
    """Most values of a column are numbers, and some are not."""


class NotFinite(InvalidTable):
    """There is an infinity."""


class UnequalLengths(InvalidTable):
    """Arrays have different numbers of rows."""


class UnsupportedType(InvalidTable):
    """A column has a type that is not taken."""


class UnsupportedShape(InvalidTable):
    """An array has a shape that is no table."""


class PickledObjects(InvalidTable):
    """Arrays of Python objects are refused."""


class DamagedFile(InvalidTable):
    """The file cannot be read."""


class Truncated(InvalidTable):
    """The file ends too early."""


class RateLimited(ApiError):
    """429."""


class HeadersTooLarge(ApiError):
    """431."""


class ServerFault(ApiError):
    """5xx but 503: a fault of the service, or of a proxy before it."""


class Internal(ServerFault):
    """The service's log has the details under the `request_id`."""


class Unavailable(ApiError):
    """503: Redis cannot be reached, takes no writes, or has lost its data."""


class Busy(Unavailable):
    """The requests under way leave too little memory or too few threads for this one."""


def _below(kind: type[ApiError]) -> Iterator[type[ApiError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


KIND_OF_CODE: dict[str, type[ApiError]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(): kind for kind in _below(ApiError)
}
"""The class of each code: `job_not_found` is JobNotFound."""

KIND_OF_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    406: NotAcceptable,
    408: RequestTimeout,
    409: Conflict,
    411: LengthRequired,
    413: TooLarge,
    414: UriTooLong,
    415: UnsupportedMediaType,
    421: UnknownHost,
    422: Invalid,
    429: RateLimited,
    431: HeadersTooLarge,
    503: Unavailable,
}


def kind_of(status: int, code: str) -> type[ApiError]:
    """Return the class of an error: that of its code, of its status if the code is unknown, else ApiError."""
    by_status = KIND_OF_STATUS.get(status, ServerFault if status >= 500 else ApiError)
    return KIND_OF_CODE.get(code, by_status)
