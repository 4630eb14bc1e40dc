"""One version in memory, ready to predict: one instance in plain floats, many as a matrix product."""

import sys
from typing import Any, TypeAlias

import orjson
from numpy.typing import NDArray

from perceptron import Column, ForwardOne, forward_one, predict_outputs, predictions
from service.predict.columns.forward import outputs_of_table
from service.predict.inputs import Inputs
from service.predict.instances import Features, Rows, TableRows, as_matrix
from storage.models.trained_model import TrainedModel
from storage.tenants import local

Predictions: TypeAlias = list[str] | list[int] | list[float] | list[list[float]]

_FIXED_BYTES = 3_000
"""Measured overhead of one version in memory, in bytes: the objects around its numbers and names."""

_STEPS_OF_AN_OUTPUT = 50
"""Writing an output as text takes as long as this many multiplications."""

_STEPS_OF_A_NEURON = 20
"""The same for an activation in a wide layer."""


_MAX_COLUMNS_ON_LOOP = 100
"""Of a table: each takes about 10 microseconds for one row."""

_BYTES_OF_A_COLUMN = 900
"""Measured: a column of a table, and what reads its cells."""

_BYTES_OF_A_LEVEL = 160
"""Measured, without the text itself: its places in the dictionaries that find its code, and the codes."""


def _columns(trained: TrainedModel) -> tuple[Column, ...]:
    return () if trained.encoder is None else trained.encoder.columns


def _bytes_of_level(level: str) -> int:
    return sys.getsizeof(level) + _BYTES_OF_A_LEVEL


class LoadedModel:
    """A trained model with everything that can be prepared for its answers."""

    __slots__ = (
        "_forward_one",
        "head",
        "inputs",
        "n_bytes",
        "n_outputs",
        "n_steps_each",
        "n_steps_forward",
        "reads_slowly",
        "trained",
    )

    def __init__(self, trained: TrainedModel) -> None:
        self.trained = trained
        self.inputs = Inputs.of(trained)
        self.reads_slowly = len(self.inputs.columns) > _MAX_COLUMNS_ON_LOOP
        """Whether reading even one row would hold up the event loop."""
        version = {"version": trained.version} if trained.version else {}
        self.head = orjson.dumps({"model": local(trained.name), **version})[:-1]
        """The beginning of every JSON answer of the native route."""
        self._forward_one: ForwardOne | None = forward_one(trained.network)
        n_parameters = trained.network.n_parameters
        self.n_outputs = trained.network.n_outputs
        n_neurons = sum(layer.bias.size for layer in trained.network.layers)
        self.n_steps_forward = n_parameters + _STEPS_OF_A_NEURON * n_neurons
        """The time of forward propagation for one instance among very many, in multiplications."""
        self.n_steps_each = n_parameters + _STEPS_OF_AN_OUTPUT * self.n_outputs
        """The time that one instance takes among many, in multiplications, with its answer."""
        # An array has 8 bytes for a number; a float object has 24, and its place in a tuple 8.
        self.n_bytes = (
            _FIXED_BYTES
            + n_parameters * (40 if self._forward_one else 8)
            + sum(sys.getsizeof(name) + 8 for name in (*trained.feature_names, *(trained.task.classes or ())))
            + sum(_BYTES_OF_A_COLUMN + sum(map(_bytes_of_level, column.levels)) for column in _columns(trained))
        )

    def outputs(self, features: Features) -> Rows:
        """Return the outputs (n_instances, n_outputs) for finite features (n_instances, n_features).

        Raises:
            OutputNotFiniteError: an output is infinite or not a number.
        """
        if len(features) == 1 and self._forward_one is not None:
            row = features[0] if isinstance(features, list) else as_matrix(features)[0].tolist()
            if (outputs := self._forward_one(row)) is not None:
                return [outputs]
        if isinstance(features, TableRows):
            return outputs_of_table([self.trained.network], features)[0]
        matrix: NDArray[Any] = predict_outputs(self.trained.network, as_matrix(features))
        return matrix

    def predictions(self, outputs: Rows) -> Predictions:
        """Return what each row of outputs stands for, as `perceptron.predictions`."""
        task = self.trained.task
        if not isinstance(outputs, list):
            return predictions(task, outputs)
        (row,) = outputs
        if task.classes is None:
            return outputs if task.is_list else row
        index = row[0] >= 0.5 if task.kind == "binary_classification" else row.index(max(row))
        return [task.classes[index]]  # type: ignore[return-value]  # all classes have one type
