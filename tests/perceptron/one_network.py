"""The objective as a function of one vector of parameters, for tests about one network."""

from typing import NamedTuple

import numpy as np

from perceptron import Networks, Objective


class Value(NamedTuple):
    cost: float
    gradient: np.ndarray


class OneNetwork:
    def __init__(self, architecture, dataset, *, loss, l2=0.0, n_threads=1):
        self._objective = Objective(architecture, dataset, loss=loss, n_threads=n_threads)
        self._networks = Networks.single(l2)

    def cost(self, parameters):
        return float(self._objective.cost(parameters[np.newaxis], self._networks)[0])

    def evaluate(self, parameters):
        return self._value(self._objective.evaluate(parameters[np.newaxis], self._networks))

    def evaluate_batch(self, parameters, rows):
        return self._value(self._objective.evaluate(parameters[np.newaxis], self._networks, rows))

    def _value(self, evaluation):
        return Value(float(evaluation.costs[0]), evaluation.gradients[0])
