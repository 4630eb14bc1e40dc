"""Optimizers that follow the gradient, and how they train: on all instances in each step, or on mini-batches.

The update rules are pure pairs of functions, after google-deepmind/optax: `init(parameters)` gives the first state;
`update(gradient, state, parameters)` gives the next parameters and the next state. Nothing is changed in place, so a
state can be kept, written down and returned to.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Floats
from perceptron.optimizers.optimizer import Iterate, OptimizerState, Problem, Training, epoch_rng

Rate: TypeAlias = float | Floats
"""A learning rate, or one for each network, (n_networks, 1)."""


class Rule(NamedTuple):
    """The two functions of an update rule; parameters and gradient are (n_networks, n_parameters)."""

    init: Callable[[Floats], OptimizerState]
    update: Callable[[Floats, Any, Floats], tuple[Floats, OptimizerState]]


def gradient_descent(learning_rate: Rate) -> Rule:
    """Go against the gradient: w <- w - learning_rate * dC/dw, and the same for b."""

    def init(parameters: Floats) -> OptimizerState:
        return ()

    def update(gradient: Floats, state: OptimizerState, parameters: Floats) -> tuple[Floats, OptimizerState]:
        return parameters - learning_rate * gradient, state

    return Rule(init, update)


class MomentumState(NamedTuple):
    """The velocity (n_networks, n_parameters): a decaying sum of the gradients so far."""

    velocity: Floats


def momentum(learning_rate: Rate, decay: float = 0.9) -> Rule:
    """Follow a velocity, and look ahead (Nesterov), with g the gradient and v the velocity, 0 at first:

        v <- decay * v + g
        w <- w - learning_rate * (g + decay * v)

    References:
        I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
    """

    def init(parameters: Floats) -> MomentumState:
        return MomentumState(np.zeros_like(parameters))

    def update(gradient: Floats, state: MomentumState, parameters: Floats) -> tuple[Floats, MomentumState]:
        velocity = decay * state.velocity + gradient
        return parameters - learning_rate * (gradient + decay * velocity), MomentumState(velocity)

    return Rule(init, update)


class AdamState(NamedTuple):
    """The number of updates so far, and decaying means, (n_networks, n_parameters) each, of gradient and square."""

    n_updates: int
    mean: Floats
    mean_square: Floats


def adam(learning_rate: Rate, decay: float = 0.9, decay_square: float = 0.999, epsilon: float = 1e-8) -> Rule:
    """Give every parameter its own step; g is the gradient, m and s are 0 at first, t = 1, 2, ... counts:

        m <- decay * m + (1 - decay) * g
        s <- decay_square * s + (1 - decay_square) * g^2
        w <- w - learning_rate * (m / (1 - decay^t)) / (sqrt(s / (1 - decay_square^t)) + epsilon)

    References:
        D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015.
    """

    def init(parameters: Floats) -> AdamState:
        return AdamState(0, np.zeros_like(parameters), np.zeros_like(parameters))

    def update(gradient: Floats, state: AdamState, parameters: Floats) -> tuple[Floats, AdamState]:
        t = state.n_updates + 1
        mean = decay * state.mean + (1 - decay) * gradient
        mean_square = decay_square * state.mean_square + (1 - decay_square) * gradient**2
        unbiased_mean = mean / (1 - decay**t)
        unbiased_root = np.sqrt(mean_square / (1 - decay_square**t))
        moved = parameters - learning_rate * unbiased_mean / (unbiased_root + epsilon)
        return moved, AdamState(t, mean, mean_square)

    return Rule(init, update)


def by_rule(rule: Callable[[Rate], Rule]) -> Callable[[Problem], Training]:
    """Train by an update rule, made for a learning rate."""

    def training(problem: Problem) -> Training:
        if problem.batch_size is None:
            return _full_batch(rule, problem)
        return _mini_batches(rule(problem.learning_rate), problem, problem.batch_size)

    return training


class AdaptiveState(NamedTuple):
    """The learning rate that the next epoch tries first, (n_networks,)."""

    learning_rates: NDArray[np.float64]


GROWTH, MAX_HALVINGS = 1.1, 60
"""Enough halvings to get from 1 to where float64 sees no change."""


def plain_or_adaptive(problem: Problem) -> Training:
    """Train by gradient descent, with learning rates that follow the cost where the problem says so.

    Such a rate is halved as long as the cost would rise, and is a tenth larger in the next epoch.

    References:
        R. Battiti, "Accelerated backpropagation learning: two optimization methods", 1989 (the bold driver).
    """
    if problem.adapts is None or not problem.adapts.any() or problem.batch_size is not None:
        return by_rule(gradient_descent)(problem)
    objective, networks, adapts = problem.objective, problem.networks, problem.adapts

    def start(parameters: Floats) -> Iterate:
        return Iterate(parameters, objective.evaluate(parameters, networks), AdaptiveState(problem.learning_rates))

    def epoch(iterate: Iterate, k: int) -> Iterate:
        rates = AdaptiveState(*iterate.optimizer_state).learning_rates.copy()
        after, searching = iterate, np.arange(len(rates))
        for _ in range(MAX_HALVINGS):
            step = rates[searching, np.newaxis].astype(iterate.parameters.dtype) * iterate.gradients[searching]
            parameters = iterate.parameters[searching] - step
            tried = Iterate(parameters, objective.evaluate(parameters, networks.take(searching)))
            after = tried if len(searching) == len(rates) else after.put(searching, tried)
            # "not <=": a cost of NaN has risen as well.
            searching = searching[adapts[searching] & ~(tried.costs <= iterate.costs[searching])]
            if not searching.size:
                break
            rates[searching] /= 2
        return after._replace(optimizer_state=AdaptiveState(np.where(adapts, GROWTH * rates, rates)))

    return Training(start, epoch)


def _full_batch(rule: Callable[[Rate], Rule], problem: Problem) -> Training:
    objective, networks, rates = problem.objective, problem.networks, problem.learning_rates[:, np.newaxis]

    def start(parameters: Floats) -> Iterate:
        state = rule(rates.astype(parameters.dtype)).init(parameters)
        return Iterate(parameters, objective.evaluate(parameters, networks), state)

    def epoch(iterate: Iterate, k: int) -> Iterate:
        update = rule(rates.astype(iterate.parameters.dtype)).update
        parameters, state = update(iterate.gradients, iterate.optimizer_state, iterate.parameters)
        # One pass gives the cost after this epoch and the gradient that the next one begins with.
        return Iterate(parameters, objective.evaluate(parameters, networks), state)

    return Training(start, epoch)


def _mini_batches(rule: Rule, problem: Problem, batch_size: int) -> Training:
    objective, networks = problem.objective, problem.networks

    def iterate_at(parameters: Floats, state: OptimizerState) -> Iterate:
        return Iterate(parameters, objective.evaluate(parameters, networks, with_gradients=False), state)

    def start(parameters: Floats) -> Iterate:
        return iterate_at(parameters, rule.init(parameters))

    def epoch(iterate: Iterate, k: int) -> Iterate:
        parameters, state = iterate.parameters, iterate.optimizer_state
        order = epoch_rng(problem.seed, k).permutation(objective.dataset.n_instances)
        for first in range(0, len(order), batch_size):
            batch = objective.evaluate(parameters, networks, order[first : first + batch_size])
            parameters, state = rule.update(batch.gradients, state, parameters)
        return iterate_at(parameters, state)

    return Training(start, epoch, n_costs_compared=5)
