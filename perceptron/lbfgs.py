"""L-BFGS: Newton's method with a curvature learned from the last few steps.

Beside the gradient it needs the cost, for its line search, so its update takes the objective as well; else it
is a pair (init, update) like those of `optimizers`.

References:
    D. Liu, J. Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.
    A. Lewis, M. Overton, "Nonsmooth optimization via quasi-Newton methods", 2013 (the line search).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from perceptron.arrays import Floats
from perceptron.objective import Evaluation

MEMORY = 10
"""How many steps are remembered."""
SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9
MAX_TRIALS = 60
"""Halvings and doublings of a step length: enough to get from 1 to where float64 sees no change."""


class LbfgsState(NamedTuple):
    """The last steps, oldest first, and what each did to the gradient, (n_parameters,) each."""

    steps: tuple[Floats, ...]
    gradient_changes: tuple[Floats, ...]
    is_at_rest: bool
    """no step along the gradient itself, however short, lowers the cost: this is the minimum, to rounding"""


class Point(NamedTuple):
    """Parameters, and the cost and gradient there."""

    parameters: Floats
    evaluation: Evaluation


def init() -> LbfgsState:
    """Give the state that remembers no step."""
    return LbfgsState((), (), is_at_rest=False)


def update(point: Point, state: LbfgsState, evaluate: Callable[[Floats], Evaluation]) -> tuple[Point, LbfgsState]:
    """Go to a lower point along the quasi-Newton direction.

    When the line search finds none, the memory is dropped and the gradient itself tried; when that finds none
    either, the point stays as it is, at rest.
    """
    if state.is_at_rest:
        return point, state
    gradient = point.evaluation.gradient
    found = _line_search(point, _direction(gradient, state), evaluate, _first_length(gradient, state))
    if found is None and state.steps:
        state = init()
        found = _line_search(point, -gradient, evaluate, _first_length(gradient, state))
    if found is None:
        return point, state._replace(is_at_rest=True)
    return found, _remember(state, found.parameters - point.parameters, found.evaluation.gradient - gradient)


def _direction(gradient: Floats, state: LbfgsState) -> Floats:
    """Multiply -gradient by the inverse Hessian that the memory stands for: the two-loop recursion."""
    direction = -gradient
    pairs = list(zip(state.steps, state.gradient_changes, strict=True))
    projections: list[float] = []
    for step, change in reversed(pairs):
        projection = float(step @ direction) / float(step @ change)
        projections.append(projection)
        direction = direction - projection * change
    if pairs:
        step, change = pairs[-1]
        direction = direction * (float(step @ change) / float(change @ change))
    for (step, change), projection in zip(pairs, reversed(projections), strict=True):
        correction = float(change @ direction) / float(step @ change)
        direction = direction + (projection - correction) * step
    return direction


def _first_length(gradient: Floats, state: LbfgsState) -> float:
    # Newton's method takes length 1. Before any curvature is known, no parameter moves by more than 1.
    if state.steps:
        return 1.0
    largest = float(np.abs(gradient).max())
    return 1 / largest if largest > 1 else 1.0


def _line_search(
    point: Point, direction: Floats, evaluate: Callable[[Floats], Evaluation], length: float
) -> Point | None:
    """Find a step length that meets the weak Wolfe conditions, by doubling and bisection.

    With slope = gradient @ direction at the point, a length t is too long while

        cost(t) > cost(0) + 1e-4 * t * slope

    and too short while the slope at t is below 0.9 * slope, still falling nearly as steeply as at 0.

    Returns:
        The point there; when trials run out, the longest that was not too long, or None without one.
    """
    cost, gradient = point.evaluation
    slope = float(gradient @ direction)
    if not -math.inf < slope < 0:
        return None
    low, high = 0.0, math.inf
    lower: Point | None = None
    for _ in range(MAX_TRIALS):
        parameters = point.parameters + length * direction
        evaluation = evaluate(parameters)
        # "not <=" and not ">": a cost of NaN is too long as well.
        if not evaluation.cost <= cost + SUFFICIENT_DECREASE * length * slope or not evaluation.cost < cost:
            high = length
        else:
            lower = Point(parameters, evaluation)
            if float(evaluation.gradient @ direction) >= CURVATURE * slope:
                return lower
            low = length
        length = 2 * low if high == math.inf else (low + high) / 2
    return lower


def _remember(state: LbfgsState, step: Floats, change: Floats) -> LbfgsState:
    # A pair without positive curvature would make the inverse Hessian indefinite; and where the gradient has
    # all but vanished its square underflows to 0, to divide by.
    squared_change = float(change @ change)
    if squared_change == 0 or not float(step @ change) > np.finfo(step.dtype).eps * squared_change:
        return state
    return LbfgsState((*state.steps, step)[-MEMORY:], (*state.gradient_changes, change)[-MEMORY:], is_at_rest=False)
