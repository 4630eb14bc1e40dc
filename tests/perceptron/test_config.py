import math

import pytest

from perceptron import (
    InvalidConfigError,
    NetworkConfig,
    TrainingConfig,
    ValidationConfig,
    resolve_training_config,
)


@pytest.mark.parametrize(
    ("config", "given", "field"),
    [
        (NetworkConfig, {"activation": "swish"}, "network/activation"),
        (NetworkConfig, {"activation": "sigmoid", "hidden_layers": (8,) * 17}, "network/hidden_layers"),
        (NetworkConfig, {"activation": "sigmoid", "hidden_layers": (0,)}, "network/hidden_layers"),
        (NetworkConfig, {"activation": "sigmoid", "hidden_layers": (4097,)}, "network/hidden_layers"),
        (NetworkConfig, {"activation": "step", "hidden_layers": (4,)}, "network/hidden_layers"),
        (NetworkConfig, {"activation": "tanh", "hidden_activation": "step"}, "network/hidden_activation"),
        (NetworkConfig, {"activation": "tanh", "hidden_activation": "softmax"}, "network/hidden_activation"),
        (TrainingConfig, {"loss": "hinge"}, "training/loss"),
        (TrainingConfig, {"optimizer": "sgd"}, "training/optimizer"),
        (TrainingConfig, {"learning_rate": 0.0}, "training/learning_rate"),
        (TrainingConfig, {"learning_rate": math.nan}, "training/learning_rate"),
        (TrainingConfig, {"learning_rate": math.inf}, "training/learning_rate"),
        (TrainingConfig, {"batch_size": 0}, "training/batch_size"),
        (TrainingConfig, {"max_epochs": 0}, "training/max_epochs"),
        (TrainingConfig, {"tolerance": -1e-9}, "training/tolerance"),
        (TrainingConfig, {"l2": -1.0}, "training/l2"),
        (TrainingConfig, {"l2": math.nan}, "training/l2"),
        (TrainingConfig, {"initialization": "ones"}, "training/initialization"),
        (TrainingConfig, {"seed": -1}, "training/seed"),
        (TrainingConfig, {"seed": 2**32}, "training/seed"),
        (TrainingConfig, {"dtype": "float16"}, "training/dtype"),
        (ValidationConfig, {"fraction": 0.0}, "validation/fraction"),
        (ValidationConfig, {"fraction": 1.0}, "validation/fraction"),
        (ValidationConfig, {"early_stopping_patience": 0}, "validation/early_stopping_patience"),
    ],
)
def test_a_value_outside_its_limits_is_refused_by_its_field(config, given, field):
    with pytest.raises(InvalidConfigError) as caught:
        config(**given)
    assert caught.value.field == field


def test_the_limits_themselves_are_allowed():
    NetworkConfig("sigmoid", hidden_layers=(4096,) * 16)
    TrainingConfig(max_epochs=1_000_000, seed=2**32 - 1, tolerance=0.0, l2=0.0, batch_size=1)


def test_the_message_gives_the_limit_and_the_value():
    with pytest.raises(InvalidConfigError, match="expected at least 1, got 0"):
        TrainingConfig(max_epochs=0)


@pytest.mark.parametrize(
    ("network", "optimizer", "initialization"),
    [
        (NetworkConfig("sigmoid"), "gradient_descent", "zeros"),
        (NetworkConfig("step"), "perceptron_rule", "zeros"),
        (NetworkConfig("sigmoid", (4,)), "gradient_descent", "glorot_uniform"),
        (NetworkConfig("sigmoid", (4,), "relu"), "gradient_descent", "he_normal"),
        (NetworkConfig("relu"), "gradient_descent", "he_normal"),
    ],
)
def test_defaults_follow_from_the_network(network, optimizer, initialization):
    config = resolve_training_config(network)
    assert (config.optimizer, config.initialization) == (optimizer, initialization)
    assert resolve_training_config(network, optimizer=None, initialization=None) == config


def test_what_is_given_is_kept():
    config = resolve_training_config(
        NetworkConfig("sigmoid", (4,)), optimizer="adam", initialization="he_normal", l2=0.0, seed=3
    )
    assert config == TrainingConfig(optimizer="adam", initialization="he_normal", seed=3)


@pytest.mark.parametrize(
    ("network", "given", "field"),
    [
        (NetworkConfig("sigmoid", (4,)), {"initialization": "zeros"}, "training/initialization"),
        (NetworkConfig("sigmoid"), {"optimizer": "perceptron_rule"}, "training/optimizer"),
        (NetworkConfig("step"), {"optimizer": "adam"}, "training/optimizer"),
        (NetworkConfig("step"), {"loss": "cross_entropy"}, "training/loss"),
        (NetworkConfig("tanh"), {"loss": "cross_entropy"}, "training/loss"),
        (NetworkConfig("sigmoid"), {"optimizer": "lbfgs", "batch_size": 8}, "training/batch_size"),
        (NetworkConfig("sigmoid"), {"optimizer": "newton", "batch_size": 8}, "training/batch_size"),
        (NetworkConfig("sigmoid", (4,)), {"optimizer": "newton"}, "training/optimizer"),
        (NetworkConfig("step"), {"optimizer": "newton"}, "training/optimizer"),
        (NetworkConfig("step"), {"batch_size": 8}, "training/batch_size"),
        (NetworkConfig("step"), {"l2": 0.1}, "training/l2"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_by_their_field(network, given, field):
    with pytest.raises(InvalidConfigError) as caught:
        resolve_training_config(network, **given)
    assert caught.value.field == field


def test_the_epochs_have_no_maximum_here_since_the_service_has_one():
    assert TrainingConfig(max_epochs=10**9).max_epochs == 10**9


def test_a_hidden_layer_that_is_too_wide_is_told_the_limit():
    with pytest.raises(InvalidConfigError, match="a hidden layer must be 1 to 4,096 wide, got 5000"):
        NetworkConfig("sigmoid", hidden_layers=(5000,))
