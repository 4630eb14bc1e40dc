"""Ask the service about a block of rows, and name the columns of its answer."""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from cli.output import plain, warn
from cli.rows.blocks import Block
from cli.rows.taken import RowsError, Taken
from perceptron_client import Client, errors
from perceptron_client.answers.models import Version
from perceptron_client.answers.predictions import Prediction

MAX_WARNINGS = 5
EXPLAINING = ("contributions", "residual", "base")
_POINTER = re.compile(r"(?:/instances)?/(\d+)(/.*)?")


@dataclass(frozen=True)
class Answered:
    """The answers to a block of rows."""

    columns: dict[str, Any]
    """Arrow's arrays: `prediction`, if it is one value, the outputs, and what explains them."""
    n_warnings: int = 0
    warnings: Sequence[str] = ()
    """The first of them, if they are known, each with its row of the file."""
    explanation: Mapping[str, Any] = field(default_factory=dict)
    """Members of the service's answer that explain the outputs."""


class Questions:
    """Asks one version about rows, block by block.

    Args:
        source: the name of the file of rows, for messages.
    """

    def __init__(self, client: Client, version: Version, source: str, *, is_explained: bool) -> None:
        self._client, self._version, self._source = client, version, source
        self._is_explained = is_explained
        self._output_names = output_names(version)
        self._n_warnings = 0

    def answers(self, blocks: Iterator[Block]) -> Iterator[Answered]:
        """Yield the answers in order. While one request is under way, the next block is read.

        Raises:
            RowsError: there is no row, or a row does not fit the model.
        """
        with ThreadPoolExecutor(1) as thread:
            waiting: Future[Answered] | None = None
            for block in blocks:
                before, waiting = waiting, thread.submit(self._ask, block)
                if before is not None:
                    yield self._told(before.result())
            if waiting is None:
                raise RowsError(f"{self._source} has no rows")
            yield self._told(waiting.result())
        if self._n_warnings > MAX_WARNINGS:
            warn(f"and {self._n_warnings - MAX_WARNINGS} more warnings")

    def _ask(self, block: Block) -> Answered:
        try:
            if isinstance(block.rows, pa.RecordBatch) and not self._is_explained:
                return self._ask_in_arrow(block)
            return self._read(self._predict(block), block)
        except errors.TooLarge:
            if len(block.rows) < 2:
                raise
            return self._ask_in_halves(block)
        except errors.Invalid as error:
            faults = [f"{_place(fault.pointer, block.first_row)}{fault.detail}" for fault in error.errors]
            raise RowsError(f"{self._source}: {'; '.join(faults[:MAX_WARNINGS]) or error.detail}") from error

    def _ask_in_halves(self, block: Block) -> Answered:
        """Ask twice, where a service with little memory takes no block of this size."""
        middle = len(block.rows) // 2
        first, second = (
            self._ask(Block(block.rows[part], block.first_row + (part.start or 0)))
            for part in (slice(None, middle), slice(middle, None))
        )
        halves = ((name, _whole(values), _whole(second.columns[name])) for name, values in first.columns.items())
        columns = {name: pa.concat_arrays([before, after]) for name, before, after in halves}
        warnings = [*first.warnings, *second.warnings]
        explanation = {
            name: value if name == "base" else [*value, *second.explanation[name]]
            for name, value in first.explanation.items()
        }
        return Answered(columns, first.n_warnings + second.n_warnings, warnings, explanation)

    def _ask_in_arrow(self, block: Block) -> Answered:
        answer = self._client.predict_arrow(self._version.model, block.rows, version=self._version.version)
        columns = {name: answer.table.column(name) for name in answer.table.column_names}
        prediction = columns.pop("prediction", None)
        outputs = dict(zip(self._output_names, columns.values(), strict=True))
        warnings: Sequence[str] = ()
        if answer.n_warnings and self._n_warnings < MAX_WARNINGS:
            warnings = _warnings(self._predict(block), block)  # only this format has their texts
        found = outputs if prediction is None else {"prediction": prediction, **outputs}
        return Answered(found, answer.n_warnings, warnings)

    def _predict(self, block: Block) -> Prediction:
        version = self._version
        return self._client.predict(version.model, block.rows, version=version.version, explain=self._is_explained)

    def _read(self, prediction: Prediction, block: Block) -> Answered:
        outputs = prediction.outputs
        columns: dict[str, Any] = {}
        if prediction.predictions.ndim == 1:
            columns["prediction"] = pa.array(prediction.predictions.tolist())
        columns |= {name: pa.array(outputs[:, k].copy()) for k, name in enumerate(self._output_names)}
        if prediction.contributions is not None:
            columns |= self._explanation(prediction)
        explanation = {name: prediction.raw[name] for name in EXPLAINING if name in prediction.raw}
        return Answered(columns, len(prediction.warnings), _warnings(prediction, block), explanation)

    def _explanation(self, prediction: Prediction) -> dict[str, Any]:
        """Return a column for each column of the table, and the base; with several outputs for each of them."""
        contributions, n_outputs = np.asarray(prediction.contributions), len(self._output_names)
        by_output = contributions.reshape(len(contributions), n_outputs, -1)
        bases = np.broadcast_to(np.asarray(prediction.base), (len(contributions), n_outputs))
        columns = {}
        for k, output in enumerate(self._output_names):
            ending = output.removeprefix("output")
            for j, name in enumerate(Taken.of(self._version.raw).names):
                columns[f"contribution_{name}{ending}"] = pa.array(by_output[:, k, j].copy())
            columns[f"base{ending}"] = pa.array(bases[:, k].copy())
        return columns

    def _told(self, answered: Answered) -> Answered:
        """Tell the first warnings."""
        for text in answered.warnings[: max(0, MAX_WARNINGS - self._n_warnings)]:
            warn(text)
        self._n_warnings += answered.n_warnings
        return answered


def _warnings(prediction: Prediction, block: Block) -> list[str]:
    first = prediction.warnings[:MAX_WARNINGS]
    return [f"{_place(notice.pointer or '', block.first_row)}{plain(notice.detail)}" for notice in first]


def _whole(values: Any) -> Any:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def output_names(version: Version) -> list[str]:
    """Return a name for each output: `output`, or one for each class, or numbered."""
    n_outputs, classes = int(version.task["n_outputs"]), version.task.get("classes") or []
    if n_outputs == 1:
        return ["output"]
    return [f"output_{each}" for each in (classes if len(classes) == n_outputs else range(n_outputs))]


def _place(pointer: str, first_row: int) -> str:
    """Return where in the file a JSON pointer into a block leads."""
    found = _POINTER.fullmatch(pointer)
    if found is None:
        return f"{pointer}: " if pointer else ""
    return f"row {first_row + int(found[1]) + 1}: "
