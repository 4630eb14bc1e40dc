"""Where lbfgs ends and adam begins among the settings that are chosen from the data."""

import numpy as np
import pytest

from perceptron import Architecture, Dataset, resolve_task
from perceptron.config import ValidationConfig
from perceptron.defaults import Named, choose_defaults


@pytest.mark.parametrize(
    ("n_rows", "width", "expected"),
    [
        # one input, `width` neurons, one output: 3 width + 1 parameters
        (518_134, 64, {"optimizer": "lbfgs"}),  # 99,999,862
        (518_135, 64, {"optimizer": "adam", "batch_size": 1024, "learning_rate": 0.01}),  # 100,000,055
        (1000, 33_333, {"optimizer": "lbfgs"}),  # 100,000,000
        (1000, 33_334, {"optimizer": "adam", "batch_size": 256, "learning_rate": 0.003}),
        (49_999, 1000, {"optimizer": "adam", "batch_size": 256, "learning_rate": 0.003}),
        (50_000, 1000, {"optimizer": "adam", "batch_size": 1024, "learning_rate": 0.003}),
    ],
)
def test_beyond_1e8_rows_times_parameters_adam_is_chosen(n_rows, width, expected):
    dataset = Dataset(np.zeros((n_rows, 1)), np.arange(n_rows, dtype=float)[:, np.newaxis])
    task, _ = resolve_task([0.5, 1.5])
    defaults = choose_defaults(task, Architecture((1, width, 1), ("tanh", "identity")), dataset, Named())
    assert {name: defaults.training[name] for name in expected} == expected
    is_adam = expected["optimizer"] == "adam"
    assert "batch_size" in defaults.training if is_adam else "batch_size" not in defaults.training
    assert defaults.validation == (ValidationConfig(0.1, 10) if is_adam else ValidationConfig(0.2, 50))
