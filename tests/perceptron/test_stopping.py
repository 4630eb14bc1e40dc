"""One rule decides when training stops, for a network alone, in a sweep and in the fast loop."""

from itertools import pairwise

import numpy as np
import pytest

from perceptron import (
    Candidate,
    Dataset,
    DivergedError,
    NetworkConfig,
    Networks,
    Objective,
    TrainingConfig,
    fit,
    fit_sweep,
)
from perceptron.architecture import Architecture
from perceptron.cost import Evaluation
from perceptron.course import constant_cost
from perceptron.optimizers import OPTIMIZERS
from perceptron.optimizers.optimizer import Iterate, Problem
from perceptron.optimizers.single_neuron import fast_loop
from perceptron.stopping import StopRule, is_finite

IDENTITY = NetworkConfig("identity")


def reason(rule, epoch, *, finite=True, converged=False, best_epoch=0, cost=1.0):
    course = rule.begin(np.array([2.0]), np.array([1.0]))
    (only,) = rule.reasons(
        epoch, course, is_finite=[finite], best_epochs=[best_epoch], kept_costs=[cost], has_converged=[converged]
    )
    return only


@pytest.mark.parametrize(("cost", "expected"), [(2.0, "max_epochs"), (2.1, "diverged"), (float("nan"), "diverged")])
def test_a_training_that_ends_above_its_start_and_the_constant_predictor_has_diverged(cost, expected):
    rule = StopRule(tolerance=None, max_epochs=10, patience=None)
    assert reason(rule, 10, cost=cost) == expected
    assert reason(rule, 9, cost=cost) is None  # it may still come down


def test_three_costs_in_a_row_above_1000_times_the_highest_are_a_divergence():
    rule = StopRule(tolerance=None, max_epochs=10, patience=None)
    course = rule.begin(np.array([2.0]), np.array([1.0]))  # 1000 max(2, 1)
    for cost, n_high in [(2001.0, 1), (2001.0, 2), (2000.0, 0), (2001.0, 1), (2002.0, 2), (2003.0, 3)]:
        course = course.after(np.array([0.0]), np.array([cost]))
        assert course.n_high.tolist() == [n_high]
    ends = rule.reasons(6, course, is_finite=[True], best_epochs=[6], kept_costs=[2003.0])
    assert ends == ["diverged"]


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e12])
def test_without_a_tolerance_five_changes_within_a_millionth_of_the_constant_predictor_are_convergence(unit):
    rule = StopRule(tolerance=None, max_epochs=100, patience=None)
    course = rule.begin(np.array([8.0 * unit]), np.array([4.0 * unit]))  # so a change of 4e-6 units stands still
    costs = [5.0, 5.0 - 3e-6, 5.0 - 6e-6, 4.9, *(4.9 + 3e-6 * k for k in range(1, 6))]
    found = []
    for before, after in pairwise(costs):
        course = course.after(np.array([before * unit]), np.array([after * unit]))
        found += rule.reasons(1, course, is_finite=[True], best_epochs=[1], kept_costs=[after * unit])
    assert found == [None] * 7 + ["converged"]


def test_where_all_targets_are_equal_a_change_is_compared_with_the_start():
    course = StopRule(None, 100, None).begin(np.array([8.0]), np.array([0.0]))
    assert course.after(np.array([1.0]), np.array([1.0 - 7e-12])).n_still.tolist() == [1]
    assert course.after(np.array([1.0]), np.array([1.0 - 9e-12])).n_still.tolist() == [0]


def test_newton_has_converged_after_one_such_change():
    assert StopRule.of(TrainingConfig(optimizer="newton"), None).n_still_epochs == 1
    assert StopRule.of(TrainingConfig(optimizer="lbfgs"), None).n_still_epochs == 5
    assert StopRule.of(TrainingConfig(optimizer="lbfgs", tolerance=1e-6), None).n_still_epochs == 1


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e6])
def test_the_constant_predictor_costs_the_variance_or_the_entropy(unit):
    # 1, 1, 4 of weight 1, 1, 2: mean 2.5, variance 2.25
    targets, weights = np.array([[1.0], [1.0], [4.0]]) * unit, np.array([1.0, 1.0, 2.0])
    cost = constant_cost(targets, weights, loss="mean_squared_error", activation="identity")
    assert cost == pytest.approx(2.25 * unit**2, rel=1e-14)
    # in the units of others that are 1e149 apart
    scale = np.array([1e149])
    cost = constant_cost(targets, weights, loss="mean_squared_error", activation="identity", scale=scale)
    assert cost == pytest.approx((1.5 * unit / 1e149) ** 2, rel=1e-14)
    for activation, classes in (("sigmoid", [[0], [1], [1], [1]]), ("softmax", [[1, 0], [0, 1], [0, 1], [0, 1]])):
        entropy = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
        cost = constant_cost(np.array(classes), None, loss="cross_entropy", activation=activation)
        assert cost == pytest.approx(entropy, rel=1e-14)


def test_the_first_reason_counts():
    rule = StopRule(tolerance=0.1, max_epochs=10, patience=3)
    assert reason(rule, 10, finite=False, converged=True) == "diverged"
    assert reason(rule, 10, converged=True) == "converged"
    assert reason(rule, 10, best_epoch=7) == "early_stopping"
    assert reason(rule, 10, best_epoch=8) == "max_epochs"
    assert reason(rule, 9, best_epoch=7) is None


def test_without_patience_the_best_epoch_does_not_matter():
    assert reason(StopRule(tolerance=0.1, max_epochs=10, patience=None), 9, best_epoch=0) is None


def test_each_network_has_its_own_reason():
    rule = StopRule(tolerance=0.25, max_epochs=10, patience=None, n_still_epochs=1)
    course = rule.begin(np.full(3, 2.0), np.full(3, 2.0)).after(np.ones(3), np.array([0.9, 1.2, 0.75]))
    reasons = rule.reasons(4, course, is_finite=[True, False, True], best_epochs=[4, 4, 4], kept_costs=[0.9, 1.2, 0.75])
    assert reasons == ["converged", "diverged", None]  # 0.25 is not below 0.25


def test_a_network_is_finite_when_its_weights_and_all_its_costs_are():
    parameters = np.array([[1.0, 2.0], [np.inf, 0.0], [1.0, 2.0], [1.0, 2.0]])
    evaluation = Evaluation(np.array([0.1, 0.1, np.nan, 0.1]), parameters, np.array([0.1, 0.1, 0.1, np.inf]))
    assert is_finite(Iterate(parameters, evaluation)).tolist() == [True, False, False, False]


def a_neuron(rate, tolerance):
    """One neuron without a fast loop and with it, at its start."""
    dataset = Dataset(np.array([[1.0]]), np.array([[2.0]]))
    objective = Objective(Architecture((1, 1), ("identity",)), dataset, loss="mean_squared_error")
    problem = Problem(objective, Networks.single(), np.array([rate]))
    training = OPTIMIZERS["gradient_descent"].training(problem)
    rule = StopRule(tolerance, max_epochs=10**6, patience=None, n_still_epochs=5 if tolerance is None else 1)
    start = training.start(np.zeros((1, 2)))
    return training, fast_loop(problem), rule, start, rule.begin(start.costs, np.array([0.5]))


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3, 10.0])  # 10: every step makes the error 39 times as large
@pytest.mark.parametrize("tolerance", [None, 0.0, 1e-6, 0.12, 2.56, 2.57, 10.0])
def test_the_fast_loop_ends_in_the_first_epoch_with_a_reason(rate, tolerance):
    training, loop, rule, iterate, course = a_neuron(rate, tolerance)
    with np.errstate(all="ignore"):
        n_done, _, course_of_loop = loop(iterate, course, 300, rule.n_still_epochs)
        for epoch in range(1, 301):
            before, iterate = iterate, training.epoch(iterate, epoch)
            course = course.after(before.costs, iterate.costs)
            finite, costs = is_finite(iterate).tolist(), iterate.costs.tolist()
            if rule.reasons(epoch, course, is_finite=finite, best_epochs=[epoch], kept_costs=costs) != [None]:
                break
    assert (n_done, course_of_loop) == (epoch, course)


@pytest.mark.parametrize("every", [1, 50])
@pytest.mark.parametrize(
    ("rate", "tolerance", "max_epochs", "expected"),
    # errors 2 (1 - 4 rate)^k: costs 4, 1.44, 0.5184, 0.186..., 0.067... with rate 0.1; 39 times the error with 10
    [(0.1, 0.12, 50, (4, "converged")), (0.1, 0.12, 3, (3, "max_epochs")), (10.0, 0.0, 200, (3, "diverged"))],
)
def test_alone_and_in_a_sweep_it_stops_in_the_same_epoch_for_the_same_reason(
    rate, tolerance, max_epochs, expected, every
):
    dataset = Dataset(np.array([[1.0]]), np.array([[2.0]]))
    config = TrainingConfig(learning_rate=rate, tolerance=tolerance, max_epochs=max_epochs, standardize=False)
    try:
        *_, last = fit(dataset, IDENTITY, config, every=every)
        alone = (last.epoch, last.stop_reason)
    except DivergedError as error:
        alone = (error.epoch, "diverged")
    good = Candidate(0.1, 0.0, 0)
    *_, swept = fit_sweep(dataset, IDENTITY, config, [Candidate(rate, 0.0, 0), good], every=every)
    first, _ = swept.trained()
    assert alone == (first.epochs, first.stop_reason) == expected
