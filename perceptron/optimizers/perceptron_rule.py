"""Rosenblatt's perceptron rule, for the step function, which has no useful gradient."""

from typing import NamedTuple

import numpy as np

from perceptron.activations import step
from perceptron.architecture import flatten
from perceptron.arrays import Floats
from perceptron.data.dataset import Dataset
from perceptron.network import Layer, Network
from perceptron.optimizers.optimizer import Iterate, OptimizerState, Problem, Training, epoch_rng

LOOK_AHEAD = 64


class PerceptronRuleState(NamedTuple):
    """The number of mistakes made in the last epoch; training has converged when there are none."""

    n_mistakes: int


def training(problem: Problem) -> Training:
    """Train one network of one neuron."""
    objective, networks = problem.objective, problem.networks

    def iterate_at(parameters: Floats, state: OptimizerState) -> Iterate:
        return Iterate(parameters, objective.evaluate(parameters, networks, with_gradients=False), state)

    def epoch(iterate: Iterate, k: int) -> Iterate:
        (neuron,) = objective.architecture.network(iterate.parameters[0]).layers
        rng = epoch_rng(problem.seed, k)
        weights, bias, n_mistakes = perceptron_rule_epoch(
            neuron.weights[:, 0], float(neuron.bias[0]), objective.dataset, problem.learning_rate, rng
        )
        trained = Layer(weights[:, np.newaxis], np.array([bias], dtype=weights.dtype), neuron.activation)
        return iterate_at(flatten(Network((trained,)))[np.newaxis], PerceptronRuleState(n_mistakes))

    return Training(
        lambda parameters: iterate_at(parameters, ()),
        epoch,
        has_converged=lambda iterate: PerceptronRuleState(*iterate.optimizer_state).n_mistakes == 0,
    )


def perceptron_rule_epoch(
    weights: Floats, bias: float, dataset: Dataset, learning_rate: float, rng: np.random.Generator
) -> tuple[Floats, float, int]:
    """Visit every instance once, in random order, and correct each mistake.

    For an instance x with target y in {0, 1} and output y_hat = step(x @ w + b):

        w <- w + learning_rate * (y - y_hat) * x
        b <- b + learning_rate * (y - y_hat)

    An instance with c times the mean weight is corrected c times as far; one of weight 0 is not visited.

    Returns:
        The new weights (n_features,), the new bias, and the number of mistakes made on the way.

    References:
        F. Rosenblatt, "The Perceptron", Psychological Review 65(6), 1958.
    """
    order = rng.permutation(dataset.n_instances)
    relative_weights = dataset.relative_weights()
    if relative_weights is not None:
        order = order[relative_weights[order] > 0]
    features, targets = dataset.features[order], dataset.targets[order, 0]
    rates = np.full(len(order), learning_rate)
    if relative_weights is not None:
        rates *= relative_weights[order]

    n_mistakes = 0
    position = 0
    while position < len(order):
        # The weights change only at the next mistake, so the outputs until then are computed at once.
        ahead = slice(position, position + LOOK_AHEAD)
        errors = targets[ahead] - step(features[ahead] @ weights + bias)
        mistakes = np.flatnonzero(errors)
        if not mistakes.size:
            position += LOOK_AHEAD
            continue
        first = int(mistakes[0])
        correction = float(rates[position + first] * errors[first])
        weights = weights + correction * features[position + first]
        bias = bias + correction
        n_mistakes += 1
        position += first + 1
    return weights, bias, n_mistakes
