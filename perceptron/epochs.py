"""One epoch of each way to train: a function from one iterate to the next."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from perceptron import lbfgs
from perceptron.architecture import Architecture, flatten
from perceptron.arrays import Floats
from perceptron.config import TrainingConfig
from perceptron.dataset import Dataset
from perceptron.network import Layer, Network
from perceptron.objective import Evaluation, Objective
from perceptron.optimizers import GRADIENT_OPTIMIZERS, OptimizerState
from perceptron.rosenblatt import perceptron_rule_epoch


class Iterate(NamedTuple):
    """Where training is: all that an epoch changes."""

    parameters: Floats
    """(n_parameters,)"""
    cost: float
    """at the parameters, over the whole training set"""
    optimizer_state: OptimizerState
    gradient: Floats | None = None
    """at the parameters, where the next epoch begins with it; follows from them"""
    n_mistakes: int | None = None
    """made on the way here by the perceptron rule; None for the other optimizers"""


class Training(NamedTuple):
    """A way to train: `start(parameters)` gives the iterate of epoch 0, `epoch(iterate, k)` of epoch k."""

    start: Callable[[Floats], Iterate]
    epoch: Callable[[Iterate, int], Iterate]
    n_costs_compared: int = 1
    """how many of the last costs the next one is compared with, to see whether training has converged"""


def epoch_rng(seed: int, epoch: int) -> np.random.Generator:
    """Give the random numbers of one epoch, those of 0 being for the initialization.

    They depend on nothing before, so that a training can be taken up again after any epoch.
    """
    return np.random.default_rng([seed, epoch])


def training_of(architecture: Architecture, dataset: Dataset, config: TrainingConfig) -> Training:
    """Choose the way to train that the config asks for."""
    objective = Objective(architecture, dataset, loss=config.loss, l2=config.l2)
    if config.optimizer == "perceptron_rule":
        return _perceptron_rule(architecture, dataset, objective, config)
    if config.optimizer == "lbfgs":
        return _lbfgs(objective)
    if config.batch_size is not None and config.batch_size < dataset.n_instances:
        return _mini_batches(objective, config, config.batch_size)
    return _full_batch(objective, config)


def _full_batch(objective: Objective, config: TrainingConfig) -> Training:
    optimizer = GRADIENT_OPTIMIZERS[config.optimizer](config.learning_rate)

    def start(parameters: Floats) -> Iterate:
        cost, gradient = objective.evaluate(parameters)
        return Iterate(parameters, cost, optimizer.init(parameters), gradient)

    def epoch(iterate: Iterate, k: int) -> Iterate:
        parameters, state = optimizer.update(_gradient(iterate), iterate.optimizer_state, iterate.parameters)
        # One pass gives the cost after this epoch and the gradient that the next one begins with.
        cost, gradient = objective.evaluate(parameters)
        return Iterate(parameters, cost, state, gradient)

    return Training(start, epoch)


def _mini_batches(objective: Objective, config: TrainingConfig, batch_size: int) -> Training:
    optimizer = GRADIENT_OPTIMIZERS[config.optimizer](config.learning_rate)

    def start(parameters: Floats) -> Iterate:
        return Iterate(parameters, objective.cost(parameters), optimizer.init(parameters))

    def epoch(iterate: Iterate, k: int) -> Iterate:
        parameters, state = iterate.parameters, iterate.optimizer_state
        order = epoch_rng(config.seed, k).permutation(objective.n_instances)
        for first in range(0, len(order), batch_size):
            batch = objective.evaluate_batch(parameters, order[first : first + batch_size])
            parameters, state = optimizer.update(batch.gradient, state, parameters)
        return Iterate(parameters, objective.cost(parameters), state)

    return Training(start, epoch, n_costs_compared=5)


def _lbfgs(objective: Objective) -> Training:
    def start(parameters: Floats) -> Iterate:
        cost, gradient = objective.evaluate(parameters)
        return Iterate(parameters, cost, lbfgs.init(), gradient)

    def epoch(iterate: Iterate, k: int) -> Iterate:
        point = lbfgs.Point(iterate.parameters, Evaluation(iterate.cost, _gradient(iterate)))
        state = lbfgs.LbfgsState(*iterate.optimizer_state)
        point, state = lbfgs.update(point, state, objective.evaluate)
        return Iterate(point.parameters, point.evaluation.cost, state, point.evaluation.gradient)

    return Training(start, epoch)


def _perceptron_rule(
    architecture: Architecture, dataset: Dataset, objective: Objective, config: TrainingConfig
) -> Training:
    def start(parameters: Floats) -> Iterate:
        return Iterate(parameters, objective.cost(parameters), ())

    def epoch(iterate: Iterate, k: int) -> Iterate:
        (neuron,) = architecture.network(iterate.parameters).layers
        rng = epoch_rng(config.seed, k)
        weights, bias, n_mistakes = perceptron_rule_epoch(
            neuron.weights[:, 0], float(neuron.bias[0]), dataset, config.learning_rate, rng
        )
        trained = Layer(weights[:, np.newaxis], np.array([bias], dtype=weights.dtype), neuron.activation)
        parameters = flatten(Network((trained,)))
        return Iterate(parameters, objective.cost(parameters), (), n_mistakes=n_mistakes)

    return Training(start, epoch)


def _gradient(iterate: Iterate) -> Floats:
    assert iterate.gradient is not None, "an iterate of a full-batch optimizer carries its gradient"
    return iterate.gradient
