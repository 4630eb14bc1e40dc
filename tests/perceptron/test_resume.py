"""A training resumed from the state of any epoch ends with the same bytes as one that was never interrupted."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from perceptron import (
    Candidate,
    Dataset,
    InvalidConfigError,
    NetworkConfig,
    TrainingConfig,
    fit,
    fit_sweep,
)

RNG = np.random.default_rng(11)
FEATURES = RNG.normal(size=(90, 5))
TARGETS = (FEATURES[:, :1] - FEATURES[:, 1:2] + RNG.normal(size=(90, 1)) > 0).astype(float)
DATASET = Dataset(FEATURES, TARGETS)
HELD_OUT = Dataset(FEATURES[::3] + 0.1, TARGETS[::3])
WEIGHTED = Dataset(FEATURES, TARGETS, RNG.uniform(0.5, 2, 90))
SIGMOID = NetworkConfig("sigmoid")
HIDDEN = NetworkConfig("sigmoid", (7, 3), "tanh")
GRID = tuple(Candidate(rate, l2, seed) for rate in (0.05, 3.0) for l2 in (0.0, 0.3) for seed in (0, 1))

SINGLE: dict[str, tuple[NetworkConfig, dict[str, Any], dict[str, Any]]] = {
    "one neuron by the short loop": (SIGMOID, {}, {}),
    "one neuron by the general loop": (SIGMOID, {}, {"dataset": WEIGHTED}),
    "float32": (SIGMOID, {"dtype": "float32"}, {}),
    "auto": (SIGMOID, {"learning_rate": "auto"}, {}),
    "auto with hidden layers": (HIDDEN, {"learning_rate": "auto"}, {}),
    "momentum": (HIDDEN, {"optimizer": "momentum", "learning_rate": 0.1}, {}),
    "adam": (HIDDEN, {"optimizer": "adam", "learning_rate": 0.01}, {}),
    "adam in mini-batches": (HIDDEN, {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 16, "seed": 4}, {}),
    "gradient descent in mini-batches": (SIGMOID, {"batch_size": 7, "tolerance": 1e-5}, {}),
    "lbfgs": (HIDDEN, {"optimizer": "lbfgs"}, {}),
    "lbfgs with two threads": (HIDDEN, {"optimizer": "lbfgs"}, {"n_threads": 2}),
    "newton": (SIGMOID, {"optimizer": "newton"}, {}),
    "perceptron_rule": (NetworkConfig("step"), {"optimizer": "perceptron_rule", "seed": 2}, {}),
    "early stopping": (
        HIDDEN,
        {"optimizer": "adam", "learning_rate": 0.05},
        {"validation": HELD_OUT, "early_stopping_patience": 5},
    ),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_training_resumed_after_any_epoch_ends_with_the_same_bytes(name: str) -> None:
    network, config, arguments = SINGLE[name]
    arguments = {"dataset": DATASET, **arguments}
    dataset = arguments.pop("dataset")
    training = TrainingConfig(**{"max_epochs": 40, "tolerance": 0.0, **config})
    results = list(fit(dataset, network, training, **arguments))
    for interrupted in RNG.choice(len(results) - 1, size=min(6, len(results) - 1), replace=False):
        state = results[interrupted].state
        rest = list(fit(dataset, network, training, resume_from=state, every=int(interrupted % 3) + 1, **arguments))
        assert_equal(rest[-1], results[-1])


SWEEPS: dict[str, tuple[NetworkConfig, dict[str, Any], bool]] = {
    "together": (SIGMOID, {"tolerance": 1e-4}, False),
    "together in folds": (SIGMOID, {"tolerance": 1e-4}, True),
    "together by lbfgs in folds": (HIDDEN, {"optimizer": "lbfgs", "tolerance": 1e-3}, True),
    "together by adam": (HIDDEN, {"optimizer": "adam", "tolerance": 1e-4}, False),
    "one by one": (SIGMOID, {"batch_size": 16, "tolerance": 1e-3}, True),
    "one by one by newton": (SIGMOID, {"optimizer": "newton", "tolerance": 1e-6}, True),
    "one by one by perceptron_rule": (NetworkConfig("step"), {"optimizer": "perceptron_rule"}, True),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_resumed_after_any_epoch_ends_with_the_same_bytes(name: str) -> None:
    network, config, has_folds = SWEEPS[name]
    training = TrainingConfig(**{"max_epochs": 30, **config})
    candidates = [replace(one, l2=0.0) for one in GRID] if network.activation == "step" else GRID
    arguments: dict[str, Any] = {"fold_of": np.arange(90) % 3, "early_stopping_patience": 8} if has_folds else {}

    def sweep(**more: Any) -> Iterator[Any]:
        return fit_sweep(DATASET, network, training, candidates, **arguments, **more)

    progress = [(one.total_epochs, one.state()) for one in sweep()]
    expected = at_the_end(sweep)
    for interrupted in RNG.choice(len(progress) - 1, size=min(6, len(progress) - 1), replace=False):
        total_epochs, state = progress[interrupted]
        assert_equal(at_the_end(lambda s=state: sweep(resume_from=s)), expected)
        assert next(sweep(resume_from=state)).total_epochs > total_epochs


def at_the_end(sweep: Callable[..., Iterator[Any]]) -> Any:
    *_, last = sweep()
    return last.trained()


def assert_equal(actual: Any, expected: Any) -> None:
    """Equal to the last bit: results, networks and everything inside."""
    if isinstance(expected, np.ndarray):
        assert (actual.dtype, actual.tobytes()) == (expected.dtype, expected.tobytes())
    elif isinstance(expected, tuple | list):
        for one, other in zip(actual, expected, strict=True):
            assert_equal(one, other)
    elif hasattr(expected, "__dict__"):
        assert_equal(list(vars(actual).values()), list(vars(expected).values()))
    else:
        assert actual == expected


def test_a_state_of_another_network_is_refused_before_any_training() -> None:
    state = next(fit(DATASET, SIGMOID, TrainingConfig())).state
    with pytest.raises(InvalidConfigError, match="expected to resume from 45 parameters"):
        fit(DATASET, NetworkConfig("sigmoid", (5, 2)), TrainingConfig(optimizer="adam"), resume_from=state)
