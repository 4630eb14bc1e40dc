"""What a job that succeeded warns of."""

from typing import Any

import pytest

from perceptron import Dataset, TrainingConfig, resolve_task
from storage.jobs.reports import Result
from worker.warnings import Judged, warnings_of

SURE = TrainingConfig(optimizer="newton", loss="cross_entropy", l2=0.01)


def codes(targets: list[Any], *, config: TrainingConfig = SURE, metrics: Any = None, **more: Any) -> list[str]:
    """Give the codes for a training without a fault but for what is given."""
    task, values = resolve_task(targets)
    figures = {"stop_reason": "converged", "cost": 0.1, "validation_cost": None} | more
    sizes = {name: figures.pop(name, size) for name, size in (("n_trained", 10), ("n_weights", 3), ("penalty", 0))}
    against = {
        name: figures.pop(name, cost) for name, cost in (("constant_cost", 0.5), ("constant_validation_cost", None))
    }
    result = Result(epochs=5, best_epoch=5, metrics=metrics or {}, **figures)
    return [
        warning.code
        for warning in warnings_of(Judged(task, config, result, Dataset(values, values), **sizes, **against))
    ]


def test_a_good_network_has_none() -> None:
    assert codes([0, 1], metrics={"accuracy": 0.9, "confusion_matrix": [[1, 0], [0, 1]]}) == []


@pytest.mark.parametrize(
    ("costs", "warns"),
    [
        ({"cost": 0.5}, True),
        ({"cost": 0.499}, False),
        ({"cost": 0.6, "penalty": 0.2}, False),  # a constant pays no penalty
        ({"cost": 0.7, "penalty": 0.2}, True),
        ({"cost": 1e20, "penalty": 1e20}, True),  # the difference is rounding
        ({"validation_cost": 0.6, "constant_validation_cost": 0.55}, True),
        ({"validation_cost": 0.5, "constant_validation_cost": 0.55}, False),
        ({"cost": 0.0, "constant_cost": 0.0}, False),  # the targets are constant, and so may the network be
    ],
)
def test_a_network_that_is_no_better_than_a_constant_says_so(costs: dict[str, float], warns: bool) -> None:
    assert codes([0, 1], **costs) == ["not_better_than_constant"] * warns


@pytest.mark.parametrize("reason", ["max_epochs", "time_limit"])
def test_a_training_that_was_ended_by_a_limit_has_not_converged(reason: str) -> None:
    assert codes([0, 1], stop_reason=reason) == ["not_converged"]


def test_a_class_that_is_never_predicted_is_named() -> None:
    assert codes([0, 1], metrics={"confusion_matrix": [[3, 0], [1, 0]]}) == ["class_never_predicted"]


def test_a_class_that_is_not_among_the_rows_evaluated_leaves_metrics_undefined() -> None:
    assert codes([0, 1], metrics={"confusion_matrix": [[3, 1], [0, 0]]}) == ["metric_undefined"]


@pytest.mark.parametrize("targets", [[0.5, 0.5], [0.3, 0.1 + 0.2]])
def test_equal_targets_leave_r2_undefined(targets: list[float]) -> None:
    assert codes(targets, config=TrainingConfig()) == ["metric_undefined"]


@pytest.mark.parametrize(("l2", "expected"), [(0.0, ["separable_without_l2"]), (0.01, [])])
def test_separated_classes_need_a_penalty(l2: float, expected: list[str]) -> None:
    config = TrainingConfig(optimizer="newton", loss="cross_entropy", l2=l2)
    assert codes([0, 1], config=config, metrics={"accuracy": 0.5, "training": {"accuracy": 1.0}}) == expected


def test_fewer_rows_than_weights_cannot_determine_them() -> None:
    assert codes([0, 1], n_trained=2, n_weights=3) == ["fewer_rows_than_weights"]
    assert codes([0, 1], n_trained=3, n_weights=3) == []
