"""One version in memory, ready to predict: for one instance in plain floats, for many as a matrix product."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from perceptron import ForwardOne, forward_one, predict_outputs
from storage.models.trained_model import TrainedModel

_FIXED_BYTES = 3_000
"""What a version takes beside its numbers and names, about: the objects around them, measured."""


_STEPS_OF_AN_OUTPUT = 50
"""Writing a number takes as long as so many multiplications."""


class LoadedModel:
    """A trained model with what can be prepared for its answers."""

    __slots__ = (
        "_class_texts",
        "_forward_one",
        "_is_binary",
        "_is_list",
        "head",
        "n_bytes",
        "n_features",
        "n_steps_each",
        "trained",
    )

    def __init__(self, trained: TrainedModel) -> None:
        self.trained = trained
        self.n_features = len(trained.feature_names)
        version = {"version": trained.version} if trained.version else {}
        self.head = orjson.dumps({"model": trained.name, **version})[:-1]
        """The beginning of the answer's JSON."""
        self._forward_one: ForwardOne | None = forward_one(trained.network)
        task = trained.task
        self._class_texts = None if task.classes is None else tuple(map(orjson.dumps, task.classes))
        self._is_binary = task.kind == "binary_classification"
        self._is_list = task.is_list
        n_parameters = trained.network.n_parameters
        self.n_steps_each = n_parameters + _STEPS_OF_AN_OUTPUT * trained.network.n_outputs
        """How long one instance takes among many, in multiplications."""
        # An array holds 8 bytes a number; a float of Python's own takes 24 and its place in a tuple 8.
        self.n_bytes = (
            _FIXED_BYTES
            + n_parameters * (40 if self._forward_one else 8)
            + sum(sys.getsizeof(name) + 8 for name in trained.feature_names)
            + sum(len(text) + 41 for text in self._class_texts or ())
        )

    @property
    def stale_head(self) -> bytes:
        """The beginning of an answer that may be out of date."""
        return self.head + b',"stale":true'

    def outputs(self, features: NDArray[np.float64]) -> NDArray[Any]:
        """Give the outputs (n_instances, n_outputs) for features (n_instances, n_features), finite every one.

        Raises:
            OutputNotFiniteError: an output is infinite or not a number.
        """
        if len(features) == 1 and self._forward_one is not None:
            outputs = self._forward_one(features[0].tolist())
            if outputs is not None:
                return np.array([outputs])
        return predict_outputs(self.trained.network, features)

    def answer_one(self, features: Sequence[float]) -> bytes | None:
        """Write the members `outputs` and `predictions` for one instance, without the brace at their end.

        None: it takes a matrix product, or has an error that the product will name.
        """
        if self._forward_one is None or (outputs := self._forward_one(features)) is None:
            return None
        if len(outputs) == 1:
            text = orjson.dumps(outputs[0])
            if self._class_texts is not None:
                prediction = self._class_texts[outputs[0] >= 0.5 if self._is_binary else 0]
            else:
                prediction = b"[%b]" % text if self._is_list else text
            return b',"outputs":[[%b]],"predictions":[%b]' % (text, prediction)
        text = orjson.dumps(outputs)
        prediction = text if self._class_texts is None else self._class_texts[outputs.index(max(outputs))]
        return b',"outputs":[%b],"predictions":[%b]' % (text, prediction)
