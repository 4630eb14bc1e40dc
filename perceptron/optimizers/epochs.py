"""One epoch of each way to train: a function from one iterate to the next, for one network or many at once."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perceptron.architecture import Architecture, flatten
from perceptron.arrays import Floats, Rows
from perceptron.config import TrainingConfig
from perceptron.data.dataset import Dataset
from perceptron.network import Layer, Network
from perceptron.objective import Evaluation, Networks, Objective
from perceptron.optimizers import lbfgs, newton
from perceptron.optimizers.gradient import GRADIENT_OPTIMIZERS, OptimizerState, take_state
from perceptron.optimizers.rosenblatt import perceptron_rule_epoch


class Iterate(NamedTuple):
    """Where training is: all that an epoch changes."""

    parameters: Floats
    """(n_networks, n_parameters)"""
    costs: NDArray[np.float64]
    """(n_networks,): at the parameters, over the whole training set"""
    optimizer_state: OptimizerState
    gradients: Floats | None = None
    """(n_networks, n_parameters), where the next epoch begins with it; follows from the parameters"""
    held_out_costs: NDArray[np.float64] | None = None
    """(n_networks,), with folds"""
    n_mistakes: int | None = None
    """made on the way here by the perceptron rule; None for the other optimizers"""

    def take(self, which: Rows) -> "Iterate":
        """Give that of some of the networks."""
        return Iterate(
            self.parameters[which],
            self.costs[which],
            take_state(self.optimizer_state, which),
            None if self.gradients is None else self.gradients[which],
            None if self.held_out_costs is None else self.held_out_costs[which],
            self.n_mistakes,
        )


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


def training_of(architecture: Architecture, dataset: Dataset, config: TrainingConfig, n_threads: int) -> Training:
    """Choose the way to train one network that the config asks for."""
    objective = Objective(architecture, dataset, loss=config.loss, n_threads=n_threads)
    networks = Networks.single(config.l2)
    if config.optimizer == "perceptron_rule":
        return _perceptron_rule(architecture, dataset, objective, config)
    if config.batch_size is not None and config.batch_size < dataset.n_instances:
        return _mini_batches(objective, networks, config, config.batch_size)
    if config.optimizer == "newton":
        return _newton(architecture, dataset, objective, config)
    return full_batch(objective, networks, config.optimizer, np.array([config.known_learning_rate]))


def full_batch(
    objective: Objective, networks: Networks, optimizer: str, learning_rates: NDArray[np.float64]
) -> Training:
    """Train networks (n_networks,), each with its learning rate, on all instances in every epoch."""
    if optimizer == "lbfgs":
        return _lbfgs(objective, networks)
    rates = learning_rates[:, np.newaxis]

    def start(parameters: Floats) -> Iterate:
        update = GRADIENT_OPTIMIZERS[optimizer](rates.astype(parameters.dtype))
        return _at(objective.evaluate(parameters, networks), parameters, update.init(parameters))

    def epoch(iterate: Iterate, k: int) -> Iterate:
        update = GRADIENT_OPTIMIZERS[optimizer](rates.astype(iterate.parameters.dtype)).update
        parameters, state = update(_gradients(iterate), iterate.optimizer_state, iterate.parameters)
        # One pass gives the cost after this epoch and the gradient that the next one begins with.
        return _at(objective.evaluate(parameters, networks), parameters, state)

    return Training(start, epoch)


def _at(evaluation: Evaluation, parameters: Floats, state: OptimizerState) -> Iterate:
    return Iterate(parameters, evaluation.costs, state, evaluation.gradients, evaluation.held_out_costs)


def _lbfgs(objective: Objective, networks: Networks) -> Training:
    def start(parameters: Floats) -> Iterate:
        return _at(objective.evaluate(parameters, networks), parameters, lbfgs.init(parameters))

    def epoch(iterate: Iterate, k: int) -> Iterate:
        evaluation = Evaluation(iterate.costs, _gradients(iterate), iterate.held_out_costs)
        points, state = lbfgs.update(
            lbfgs.Points(iterate.parameters, evaluation),
            lbfgs.LbfgsState(*iterate.optimizer_state),
            lambda parameters, which: objective.evaluate(parameters, networks.take(which)),
        )
        return _at(points.evaluation, points.parameters, state)

    return Training(start, epoch)


def _newton(architecture: Architecture, dataset: Dataset, objective: Objective, config: TrainingConfig) -> Training:
    newton.check_solvable_by_newton(architecture)
    networks = Networks.single(config.l2)
    rows = newton.rows_for_curvature(dataset, architecture.n_parameters, epoch_rng(config.seed, 1))
    part = dataset if rows is None else dataset.take(rows)
    curvature = newton.Curvature(architecture, part, loss=config.loss, l2=config.l2)

    def evaluate(parameters: Floats) -> Evaluation:
        return objective.evaluate(parameters, networks)

    def start(parameters: Floats) -> Iterate:
        return _at(evaluate(parameters), parameters, newton.NewtonState())

    def epoch(iterate: Iterate, k: int) -> Iterate:
        state = newton.NewtonState(*iterate.optimizer_state)
        if k == 1 and rows is not None:
            of_part = Objective(architecture, part, loss=config.loss)
            parameters = newton.optimum_of_part(iterate.parameters, curvature, lambda p: of_part.evaluate(p, networks))
            evaluation = evaluate(parameters)
            if evaluation.costs[0] < iterate.costs[0]:
                return _at(evaluation, parameters, state)
        before = newton.Point(iterate.parameters, Evaluation(iterate.costs, _gradients(iterate)))
        point, state = newton.update(before, state, curvature, evaluate)
        return _at(point.evaluation, point.parameters, state)

    return Training(start, epoch)


def _mini_batches(objective: Objective, networks: Networks, config: TrainingConfig, batch_size: int) -> Training:
    optimizer = GRADIENT_OPTIMIZERS[config.optimizer](config.known_learning_rate)

    def start(parameters: Floats) -> Iterate:
        return Iterate(parameters, objective.cost(parameters, networks), optimizer.init(parameters))

    def epoch(iterate: Iterate, k: int) -> Iterate:
        parameters, state = iterate.parameters, iterate.optimizer_state
        order = epoch_rng(config.seed, k).permutation(objective.n_instances)
        for first in range(0, len(order), batch_size):
            batch = objective.evaluate_batch(parameters, networks, order[first : first + batch_size])
            parameters, state = optimizer.update(batch.gradients, state, parameters)
        return Iterate(parameters, objective.cost(parameters, networks), state)

    return Training(start, epoch, n_costs_compared=5)


def _perceptron_rule(
    architecture: Architecture, dataset: Dataset, objective: Objective, config: TrainingConfig
) -> Training:
    networks = Networks.single()

    def start(parameters: Floats) -> Iterate:
        return Iterate(parameters, objective.cost(parameters, networks), ())

    def epoch(iterate: Iterate, k: int) -> Iterate:
        (neuron,) = architecture.network(iterate.parameters[0]).layers
        rng = epoch_rng(config.seed, k)
        weights, bias, n_mistakes = perceptron_rule_epoch(
            neuron.weights[:, 0], float(neuron.bias[0]), dataset, config.known_learning_rate, rng
        )
        trained = Layer(weights[:, np.newaxis], np.array([bias], dtype=weights.dtype), neuron.activation)
        parameters = flatten(Network((trained,)))[np.newaxis]
        return Iterate(parameters, objective.cost(parameters, networks), (), n_mistakes=n_mistakes)

    return Training(start, epoch)


def _gradients(iterate: Iterate) -> Floats:
    assert iterate.gradients is not None, "an iterate of a full-batch optimizer carries its gradients"
    return iterate.gradients
