"""Optimizers that follow the gradient: pure pairs of functions, after google-deepmind/optax.

`init(parameters)` gives an optimizer's first state; `update(gradient, state, parameters)` gives the next
parameters and the next state. Nothing is changed in place, so a state can be kept, written down and gone back
to.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from perceptron.arrays import Floats, Rows

OptimizerState: TypeAlias = tuple[Any, ...]
"""Arrays and numbers; each optimizer below has its own."""

Rate: TypeAlias = float | Floats
"""A learning rate, or one for each network, (n_networks, 1)."""


def take_state(state: OptimizerState, which: Rows) -> OptimizerState:
    """Give the state of some of the networks: of every array the rows, numbers being common to all."""
    if hasattr(state, "take"):
        taken: OptimizerState = state.take(which)
        return taken
    parts = [part[which] if isinstance(part, np.ndarray) else part for part in state]
    return type(state)(*parts) if parts else state


class Optimizer(NamedTuple):
    """The two functions of an optimizer; parameters and gradient are (n_networks, n_parameters)."""

    init: Callable[[Floats], OptimizerState]
    update: Callable[[Floats, Any, Floats], tuple[Floats, OptimizerState]]


def gradient_descent(learning_rate: Rate) -> Optimizer:
    """Go against the gradient: w <- w - learning_rate * dC/dw, and the same for b."""

    def init(parameters: Floats) -> OptimizerState:
        return ()

    def update(gradient: Floats, state: OptimizerState, parameters: Floats) -> tuple[Floats, OptimizerState]:
        return parameters - learning_rate * gradient, state

    return Optimizer(init, update)


class MomentumState(NamedTuple):
    """The velocity (n_networks, n_parameters): a decaying sum of the gradients so far."""

    velocity: Floats


def momentum(learning_rate: Rate, decay: float = 0.9) -> Optimizer:
    """Keep rolling, and look ahead (Nesterov), with g the gradient and v the velocity, 0 at first:

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

    return Optimizer(init, update)


class AdamState(NamedTuple):
    """The number of updates so far, and decaying means, (n_networks, n_parameters) each, of gradient and square."""

    n_updates: int
    mean: Floats
    mean_square: Floats


def adam(learning_rate: Rate, decay: float = 0.9, decay_square: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
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

    return Optimizer(init, update)


GRADIENT_OPTIMIZERS: dict[str, Callable[[Rate], Optimizer]] = {
    "gradient_descent": gradient_descent,
    "momentum": momentum,
    "adam": adam,
}
