"""One prediction: the requests that it takes, and the answer that their answers make."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
import numpy as np

from perceptron_client.answers.answer import array_of
from perceptron_client.answers.predictions import Prediction
from perceptron_client.bodies.frames import ARROW_STREAM, arrow_parts, as_arrow, has_pyarrow, kind_of_frame
from perceptron_client.bodies.json_text import to_json
from perceptron_client.bodies.rows import Rows, rows_of
from perceptron_client.errors import ApiError, Fault, InvalidArgument, UnexpectedAnswer
from perceptron_client.requests import JSON, Call, json_of, query_of

MIN_ROWS_OF_ARROW_ANSWER = 2_000
"""From here on an answer in Arrow is faster than JSON, if pyarrow is there."""

_JSON_HEADERS = {"Content-Type": JSON}
_INDEX = re.compile(r"(/instances)?/(\d+)(/.*)?")


@dataclass(frozen=True)
class Reference:
    """What is asked for, besides the rows."""

    model: str | None
    version: int | None = None
    alias: str | None = None
    job: str | None = None
    explain: bool = False
    versions: Sequence[int] | str | None = None

    @property
    def needs_json(self) -> bool:
        """Whether only JSON has a place for what is asked for."""
        return self.explain or self.versions is not None or self.job is not None

    def pinned(self, first: Prediction) -> Reference:
        """Return what the other requests of this prediction ask for: the versions that answered the first one.

        Raises:
            InvalidArgument: a network that still trains cannot be pinned.
        """
        if first.version is None:
            raise InvalidArgument("the network of a job that still runs predicts for one request of rows at a time")
        versions = self.versions if first.by_version is None else sorted(first.by_version)
        return replace(self.at_version(first.version), model=first.model, job=None, versions=versions)

    def at_version(self, version: int) -> Reference:
        """Return the same, asked of a version."""
        return replace(self, alias=None, version=version)


@dataclass(frozen=True)
class Part:
    """The rows of one request."""

    rows: Rows
    start: int
    stop: int

    def call(self, reference: Reference, *, in_json: bool = False) -> Call:
        """Return the request.

        Args:
            in_json: the answer must be JSON.
        """
        if self.rows.as_binary is not None and self.rows.prefers_binary and not reference.needs_json:
            is_arrow = not in_json and self.stop - self.start >= MIN_ROWS_OF_ARROW_ANSWER and has_pyarrow()
            return Call(
                "POST",
                "/predict",
                params=query_of(model=reference.model, version=reference.version, alias=reference.alias),
                content=self.rows.as_binary(self.start, self.stop),
                headers={"Content-Type": self.rows.media_type, "Accept": ARROW_STREAM if is_arrow else JSON},
            )
        members = {name: value for name, value in vars(reference).items() if value is not None and value is not False}
        members["instances"] = self.rows.as_json(self.start, self.stop)
        return Call("POST", "/predict", content=to_json(members), headers=_JSON_HEADERS)

    def other_format(self, reference: Reference) -> Part | None:
        """Return the same rows in the other format, where they may mean something else; None if there is none."""
        if not self.rows.may_be_either or reference.needs_json:
            return None
        return replace(self, rows=replace(self.rows, prefers_binary=not self.rows.prefers_binary, may_be_either=False))

    def moved(self, error: ApiError) -> ApiError:
        """Return an error whose pointers count from the first row of the call."""
        faults = tuple(Fault(self._moved(fault.pointer), fault.detail) for fault in error.errors)
        return type(error)(
            error.status,
            error.code,
            f"rows {self.start} to {self.stop - 1}: {error.detail}",
            errors=faults,
            request_id=error.request_id,
            retry_after_s=error.retry_after_s,
            members=error.members,
        )

    def read(self, response: httpx.Response) -> Prediction | None:
        """Return the prediction of an answer; None if it has warnings that only JSON tells."""
        if response.headers.get("content-type", "").startswith(ARROW_STREAM):
            return None if response.headers.get("x-warnings", "0") != "0" else _from_arrow(response)
        raw = json_of(response)
        if self.start and raw.get("warnings"):
            raw["warnings"] = [
                {**each, "pointer": self._moved(str(each.get("pointer", "")))} for each in raw["warnings"]
            ]
        return Prediction.of(raw)

    def _moved(self, pointer: str) -> str:
        found = _INDEX.fullmatch(pointer)
        return pointer if found is None else f"{found[1] or ''}/{int(found[2]) + self.start}{found[3] or ''}"


def parts_of(rows: Any, reference: Reference) -> Iterator[Part]:
    """Yield the rows of each request: there is always one, as the service knows best why no rows are wrong.

    Raises:
        InvalidArgument: the rows cannot be sent.
    """
    if (reference.model is None) == (reference.job is None):
        raise InvalidArgument("give a model or a job")
    given = rows_of(rows)
    step = given.rows_at_once(is_explained=reference.explain)
    for start in range(0, max(given.n_rows, 1), step):
        yield Part(given, start, min(start + step, given.n_rows))


@dataclass(frozen=True)
class ArrowAnswer:
    """A prediction as Arrow has it."""

    table: Any
    """The columns `output` (with several outputs `output_0`, ...) and, unless it is a list, `prediction`."""
    version: int
    n_warnings: int
    """How many warnings the service has; `predict` asks for their texts."""


def arrow_call(model: str, table: Any, version: int | None) -> Call:
    """Return the request for an Arrow table.

    Raises:
        InvalidArgument: it is none.
    """
    if kind_of_frame(table) is None:
        raise InvalidArgument(f"table must be an Arrow table or a data frame, not {type(table).__name__}")
    return Call(
        "POST",
        "/predict",
        params=query_of(model=model, version=version),
        content=b"".join(arrow_parts(as_arrow(table))),
        headers={"Content-Type": ARROW_STREAM, "Accept": ARROW_STREAM},
    )


def arrow_answer_of(response: httpx.Response) -> ArrowAnswer:
    """Read the answer to `arrow_call`.

    Raises:
        UnexpectedAnswer: it is no Arrow stream.
    """
    import pyarrow as pa

    try:
        table = pa.ipc.open_stream(response.content).read_all()
        version = int(response.headers["x-model-version"])
        n_warnings = int(response.headers.get("x-warnings", "0"))
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise UnexpectedAnswer(f"POST /predict: the answer cannot be read as an Arrow stream: {error}") from error
    return ArrowAnswer(table, version, n_warnings)


def _from_arrow(response: httpx.Response) -> Prediction:
    import pyarrow as pa

    try:
        table = pa.ipc.open_stream(response.content).read_all()
        columns = {name: table.column(name) for name in table.column_names}
        predictions = columns.pop("prediction", None)
        outputs = np.column_stack([column.to_numpy() for column in columns.values()])
        version = int(response.headers["x-model-version"])
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise UnexpectedAnswer(f"POST /predict: the answer cannot be read as an Arrow stream: {error}") from error
    stale = response.headers.get("x-model-stale") == "true"
    model = response.request.url.params["model"]
    raw: dict[str, Any] = {"model": model, "version": version, "outputs": outputs.tolist()}
    raw["predictions"] = raw["outputs"] if predictions is None else predictions.to_pylist()
    return Prediction(
        model=model,
        version=version,
        outputs=array_of(outputs),
        predictions=array_of(outputs if predictions is None else raw["predictions"]),
        warnings=(),
        contributions=None,
        base=None,
        residual=None,
        by_version=None,
        stale=stale,
        raw=raw | ({"stale": True} if stale else {}),
    )
