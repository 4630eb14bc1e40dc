"""L-BFGS: Newton's method with a curvature learned from the last few steps, for many networks at once.

Its line search needs costs besides gradients, so its update takes the objective as well. Each network has its own
memory and its own step lengths; the networks share the evaluations.

References:
    D. Liu, J. Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.
    A. Lewis, M. Overton, "Nonsmooth optimization via quasi-Newton methods", 2013 (the line search).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Floats, Rows
from perceptron.cost import Evaluation
from perceptron.optimizers.optimizer import Iterate, Problem, Training

MEMORY = 10
"""How many steps are remembered."""
SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9
MAX_TRIALS = 60
"""Halvings and doublings of a step length: enough to get from 1 to where float64 sees no change."""

Evaluate = Callable[[Floats, Rows], Evaluation]
"""Evaluates parameters (n_chosen, n_parameters) of the networks chosen by their indices."""


class LbfgsState(NamedTuple):
    """The last steps, oldest first, and what each did to the gradient."""

    steps: Floats
    """(MEMORY, n_networks, n_parameters)"""
    gradient_changes: Floats
    """(MEMORY, n_networks, n_parameters)"""
    reciprocals: NDArray[np.float64]
    """(MEMORY, n_networks): 1 / (step @ change), or 0 where nothing is remembered"""
    scale: NDArray[np.float64]
    """(n_networks,): of the inverse Hessian before any correction; 0 where nothing is remembered"""
    is_at_rest: NDArray[np.bool_]
    """(n_networks,): no step along the gradient itself, however short, lowers the cost: the minimum, to rounding"""

    def take(self, which: Rows) -> "LbfgsState":
        """Give the state of some of the networks."""
        return LbfgsState(
            # In C order, unlike self.steps[:, which]: another order in memory would round sums differently.
            np.take(self.steps, which, axis=1),
            np.take(self.gradient_changes, which, axis=1),
            np.take(self.reciprocals, which, axis=1),
            self.scale[which],
            self.is_at_rest[which],
        )


def training(problem: Problem) -> Training:
    """Train on all instances; learning rates are ignored."""
    objective, networks = problem.objective, problem.networks

    def evaluate(parameters: Floats, which: Rows) -> Evaluation:
        return objective.evaluate(parameters, networks.take(which))

    def start(parameters: Floats) -> Iterate:
        return Iterate(parameters, objective.evaluate(parameters, networks), init(parameters))

    return Training(start, lambda iterate, k: update(iterate, evaluate))


def init(parameters: Floats) -> LbfgsState:
    """Give the state that remembers no step."""
    n_networks, n_parameters = parameters.shape
    nothing = np.zeros((MEMORY, n_networks, n_parameters), parameters.dtype)
    return LbfgsState(
        nothing, nothing, np.zeros((MEMORY, n_networks)), np.zeros(n_networks), np.zeros(n_networks, dtype=bool)
    )


def update(before: Iterate, evaluate: Evaluate) -> Iterate:
    """Move each network to a lower point along its quasi-Newton direction.

    Where the line search finds none, drop the memory and try the gradient itself. Where that fails as well, the
    network stays where it is, at rest.
    """
    state = LbfgsState(*before.optimizer_state)
    direction = _direction(before.gradients, state)
    searching = np.flatnonzero(~state.is_at_rest)
    iterate, found = _line_search(before, direction, _first_lengths(before, state), searching, evaluate)
    lost = searching[~found[searching]]
    if lost.size:
        scale, reciprocals, at_rest = state.scale.copy(), state.reciprocals.copy(), state.is_at_rest.copy()
        has_memory = lost[scale[lost] > 0]
        scale[lost], reciprocals[:, lost] = 0, 0
        state = state._replace(scale=scale, reciprocals=reciprocals)
        if has_memory.size:
            steepest = -iterate.gradients
            first_lengths = _first_lengths(iterate, state)
            iterate, found_again = _line_search(iterate, steepest, first_lengths, has_memory, evaluate)
            found = found | found_again
        at_rest[lost[~found[lost]]] = True
        state = state._replace(is_at_rest=at_rest)
    return iterate._replace(optimizer_state=_remember(state, before, iterate))


def _dot(left: Floats, right: Floats) -> NDArray[np.float64]:
    """Multiply row by row: (n_networks, n_parameters) twice to (n_networks,)."""
    if len(left) == 1:  # several times faster, and there are twenty products to a step
        return np.array([np.dot(left[0].astype(np.float64, copy=False), right[0].astype(np.float64, copy=False))])
    products: NDArray[np.float64] = np.einsum("cp,cp->c", left, right, dtype=np.float64)
    return products


def _scaled(factors: NDArray[np.float64], rows: Floats) -> Floats:
    if len(rows) == 1:
        return rows * float(factors[0])
    scaled: Floats = factors.astype(rows.dtype)[:, np.newaxis] * rows
    return scaled


def _direction(gradients: Floats, state: LbfgsState) -> Floats:
    """Multiply -gradient by the inverse Hessian that the memory stands for: the two-loop recursion."""
    direction: Floats = -gradients
    remembered = np.flatnonzero(state.reciprocals.any(axis=1)).tolist()
    projections: dict[int, NDArray[np.float64]] = {}
    for k in reversed(remembered):
        projections[k] = state.reciprocals[k] * _dot(state.steps[k], direction)
        direction -= _scaled(projections[k], state.gradient_changes[k])
    direction = _scaled(np.where(state.scale > 0, state.scale, 1.0), direction)
    for k in remembered:
        correction = state.reciprocals[k] * _dot(state.gradient_changes[k], direction)
        direction += _scaled(projections[k] - correction, state.steps[k])
    return direction


def _first_lengths(iterate: Iterate, state: LbfgsState) -> NDArray[np.float64]:
    # Newton's method takes length 1. Before any curvature is known, no parameter moves by more than 1.
    largest = np.abs(iterate.gradients).max(axis=1).astype(np.float64)
    return np.where(state.scale > 0, 1.0, 1 / np.maximum(largest, 1.0))


def _line_search(
    iterate: Iterate, direction: Floats, lengths: NDArray[np.float64], searching: Rows, evaluate: Evaluate
) -> tuple[Iterate, NDArray[np.bool_]]:
    """Find step lengths that meet the weak Wolfe conditions, by doubling and bisection.

    With slope = gradient @ direction at the point, a length t is too long while

        cost(t) > cost(0) + 1e-4 * t * slope

    and too short while the slope at t is below 0.9 * slope, still falling nearly as steeply as at 0.

    Returns:
        The iterate there, or when trials run out, at the longest steps that were not too long; and which networks
        have moved. The others stay where they are.
    """
    costs, gradients, held_out_costs = iterate.evaluation
    slopes = _dot(gradients, direction)
    n_networks = len(slopes)
    low, high, lengths = np.zeros(n_networks), np.full(n_networks, np.inf), lengths.copy()
    found = np.zeros(n_networks, dtype=bool)
    parameters, new_costs, new_gradients = iterate.parameters.copy(), costs.copy(), gradients.copy()
    new_held_out_costs = None if held_out_costs is None else held_out_costs.copy()
    rounding = np.finfo(gradients.dtype).eps
    searching = searching[(slopes[searching] < 0) & np.isfinite(slopes[searching])]
    for _ in range(MAX_TRIALS):
        if not searching.size:
            break
        length, slope = lengths[searching], slopes[searching]
        tried = iterate.parameters[searching] + _scaled(length, direction[searching])
        there = evaluate(tried, searching)
        # "not <=" and not ">": a cost of NaN is too long as well.
        is_low = (there.costs <= costs[searching] + SUFFICIENT_DECREASE * length * slope) & (
            there.costs < costs[searching]
        )
        lower = searching[is_low]
        high[searching[~is_low]] = length[~is_low]
        low[lower] = length[is_low]
        found[lower] = True
        parameters[lower], new_costs[lower] = tried[is_low], there.costs[is_low]
        new_gradients[lower] = there.gradients[is_low]
        if new_held_out_costs is not None and there.held_out_costs is not None:
            new_held_out_costs[lower] = there.held_out_costs[is_low]
        is_flat = _dot(there.gradients, direction[searching]) >= CURVATURE * slope
        searching = searching[~(is_low & is_flat)]
        lengths = np.where(np.isinf(high), 2 * low, (low + high) / 2)
        # Once even the slope promises less than the rounding of the cost, more halving is in vain.
        promised = lengths[searching] * -slopes[searching]
        is_vain = np.isfinite(high[searching]) & (promised <= rounding * np.abs(costs[searching]))
        searching = searching[~is_vain]
    evaluation = Evaluation(new_costs, new_gradients, new_held_out_costs)
    return iterate._replace(parameters=parameters, evaluation=evaluation), found


def _remember(state: LbfgsState, before: Iterate, after: Iterate) -> LbfgsState:
    step = after.parameters - before.parameters
    change = after.gradients - before.gradients
    curvature, squared_change = _dot(step, change), _dot(change, change)
    # A pair without positive curvature would make the inverse Hessian indefinite; and the square of a tiny gradient
    # underflows to 0, which cannot be divided by.
    is_useful = (squared_change > 0) & (curvature > np.finfo(step.dtype).eps * squared_change)
    if not is_useful.any():
        return state
    safe = np.where(is_useful, curvature, 1.0)
    return state._replace(
        steps=np.concatenate([state.steps[1:], step[np.newaxis]]),
        gradient_changes=np.concatenate([state.gradient_changes[1:], change[np.newaxis]]),
        reciprocals=np.concatenate([state.reciprocals[1:], np.where(is_useful, 1 / safe, 0.0)[np.newaxis]]),
        scale=np.where(is_useful, safe / np.where(is_useful, squared_change, 1.0), state.scale),
    )
