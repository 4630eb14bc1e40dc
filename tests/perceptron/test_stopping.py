"""One rule decides when training stops, for a network alone, in a sweep and in the fast loop."""

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
from perceptron.optimizers import OPTIMIZERS
from perceptron.optimizers.optimizer import Iterate, Problem
from perceptron.optimizers.single_neuron import fast_loop
from perceptron.stopping import StopRule, is_finite

IDENTITY = NetworkConfig("identity")


def reason(rule, epoch, *, finite=True, converged=False, best_epoch=0):
    (only,) = rule.reasons(epoch, is_finite=[finite], has_converged=[converged], best_epochs=[best_epoch])
    return only


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
    rule = StopRule(tolerance=0.25, max_epochs=10, patience=None)
    converged = rule.has_converged(np.array([1.0, 1.0, 1.0]), np.array([0.9, 1.2, 0.75]))
    reasons = rule.reasons(4, is_finite=[True, False, True], has_converged=converged.tolist(), best_epochs=[4, 4, 4])
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
    rule = StopRule(tolerance, max_epochs=10**6, patience=None)
    return training, fast_loop(problem), rule, training.start(np.zeros((1, 2)))


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3, 10.0])  # 10: every step makes the error 39 times as large
@pytest.mark.parametrize("tolerance", [0.0, 1e-6, 0.12, 2.56, 2.57, 10.0])
def test_the_fast_loop_ends_in_the_first_epoch_with_a_reason(rate, tolerance):
    training, loop, rule, iterate = a_neuron(rate, tolerance)
    with np.errstate(all="ignore"):
        n_done, _, _ = loop(iterate, 300, tolerance)
        for epoch in range(1, 301):
            before, iterate = iterate, training.epoch(iterate, epoch)
            converged = rule.has_converged(before.costs, iterate.costs).tolist()
            finite = is_finite(iterate).tolist()
            if rule.reasons(epoch, is_finite=finite, has_converged=converged, best_epochs=[epoch]) != [None]:
                break
    assert n_done == epoch


@pytest.mark.parametrize("every", [1, 50])
@pytest.mark.parametrize(
    ("rate", "tolerance", "max_epochs", "expected"),
    # errors 2 (1 - 4 rate)^k: costs 4, 1.44, 0.5184, 0.186..., 0.067... with rate 0.1; 39 times the error with 10
    [(0.1, 0.12, 50, (4, "converged")), (0.1, 0.12, 3, (3, "max_epochs")), (10.0, 0.0, 200, (97, "diverged"))],
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
