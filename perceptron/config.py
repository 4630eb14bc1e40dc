"""How a network is shaped and how it learns: settings that are valid once they exist."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from perceptron.activations import ACTIVATIONS
from perceptron.errors import InvalidConfigError
from perceptron.losses import LOSSES

OPTIMIZERS = ("gradient_descent", "momentum", "adam", "lbfgs", "newton", "perceptron_rule")
INITIALIZATIONS = ("zeros", "glorot_uniform", "he_normal")
DTYPES = ("float32", "float64")
LearningRate: TypeAlias = float | Literal["auto"]
HIDDEN_ACTIVATIONS = tuple(name for name, activation in ACTIVATIONS.items() if activation.is_hidden)

MAX_HIDDEN_LAYERS = 16
MAX_LAYER_WIDTH = 4096
MAX_SEED = 2**32 - 1
MAX_FOLDS = 100


@dataclass(frozen=True)
class NetworkConfig:
    """The activation of the outputs, and the hidden layers in front of them, if any.

    Raises:
        InvalidConfigError: an activation is unknown or cannot be used there; more than 16 hidden layers, or
            one that is not 1 to 4,096 wide; hidden layers under `step`, which only the perceptron rule
            trains.
    """

    activation: str
    hidden_layers: tuple[int, ...] = ()
    hidden_activation: str = "tanh"

    def __post_init__(self) -> None:
        _check_one_of("network/activation", self.activation, ACTIVATIONS)
        _check_one_of("network/hidden_activation", self.hidden_activation, HIDDEN_ACTIVATIONS)
        # A list, as JSON has it, would make the frozen config mutable and unhashable.
        object.__setattr__(self, "hidden_layers", tuple(self.hidden_layers))
        field = "network/hidden_layers"
        if len(self.hidden_layers) > MAX_HIDDEN_LAYERS:
            raise InvalidConfigError(
                f"expected at most {MAX_HIDDEN_LAYERS} hidden layers, got {len(self.hidden_layers)}",
                field=field,
            )
        for width in self.hidden_layers:
            if not 1 <= width <= MAX_LAYER_WIDTH:
                raise InvalidConfigError(
                    f"a hidden layer must be 1 to {MAX_LAYER_WIDTH:,} wide, got {width!r}", field=field
                )
        if self.activation == "step" and self.hidden_layers:
            raise InvalidConfigError(
                "step has no gradient to train hidden layers with: expected none, "
                f"got {len(self.hidden_layers)}; use sigmoid to have some",
                field=field,
            )


@dataclass(frozen=True)
class TrainingConfig:
    """How a network learns. `resolve_training_config` fills in what depends on the network.

    Raises:
        InvalidConfigError: a value is outside its limits.
    """

    loss: str = "mean_squared_error"
    optimizer: str = "gradient_descent"
    learning_rate: LearningRate = 0.5
    """alpha of the update; `lbfgs` and `newton` ignore it: they search for the length of each step. "auto", for a
    network without hidden layers: as large as the curvature of the cost allows (see `auto_learning_rate`)"""
    batch_size: int | None = None
    """instances per update; None: all of them"""
    max_epochs: int = 1000
    tolerance: float = 1e-6
    """converged when the cost changes by less; 0: never"""
    l2: float = 0.0
    """adds l2 times the sum of the squared weights, biases not included, to the cost"""
    initialization: str | None = None
    """None: zeros without hidden layers, else glorot_uniform, he_normal for relu"""
    standardize: bool = True
    """whether the caller of `fit` standardizes the features; `fit` takes them as they are"""
    seed: int = 0
    dtype: str = "float64"

    def __post_init__(self) -> None:
        _check_one_of("training/loss", self.loss, LOSSES)
        _check_one_of("training/optimizer", self.optimizer, OPTIMIZERS)
        _check_one_of("training/dtype", self.dtype, DTYPES)
        if self.initialization is not None:
            _check_one_of("training/initialization", self.initialization, INITIALIZATIONS)
        check_learning_rate(self.learning_rate)
        for name, value in (("tolerance", self.tolerance), ("l2", self.l2)):
            if not 0 <= value < math.inf:
                raise InvalidConfigError(
                    f"{name} must be at least 0 and finite, got {value!r}", field=f"training/{name}"
                )
        if self.batch_size is not None:
            _check_whole("training/batch_size", self.batch_size, low=1)
        _check_whole("training/max_epochs", self.max_epochs, low=1)
        _check_whole("training/seed", self.seed, low=0, high=MAX_SEED)

    @property
    def known_learning_rate(self) -> float:
        """The learning rate where "auto" has become a number."""
        assert not isinstance(self.learning_rate, str), "with_learning_rate comes before training"
        return self.learning_rate


@dataclass(frozen=True)
class ValidationConfig:
    """Which part of the data set is kept from training, and how long to wait for its cost to fall.

    Raises:
        InvalidConfigError: the fraction is not between 0 and 1, or the patience is not at least 1 epoch.
    """

    fraction: float = 0.2
    early_stopping_patience: int | None = None
    """epochs without a lower validation cost before training stops; None: never"""
    folds: int | None = None
    """of cross-validation, which then takes the place of the fraction; None: the fraction"""

    def __post_init__(self) -> None:
        if not 0 < self.fraction < 1:
            raise InvalidConfigError(
                f"fraction must be above 0 and below 1, got {self.fraction!r}", field="validation/fraction"
            )
        if self.early_stopping_patience is not None:
            _check_whole("validation/early_stopping_patience", self.early_stopping_patience, low=1)
        if self.folds is not None:
            _check_whole("validation/folds", self.folds, low=2, high=MAX_FOLDS)


def resolve_training_config(network: NetworkConfig, **given: Any) -> TrainingConfig:
    """Complete the fields given with the defaults that depend on the network, and check that they fit it.

    Args:
        network: the network that is to be trained.
        given: fields of `TrainingConfig`; None stands for the default.

    Raises:
        InvalidConfigError: a value is outside its limits, or does not go with the network.
    """
    fields = {name: value for name, value in given.items() if value is not None}
    fields.setdefault("optimizer", "perceptron_rule" if network.activation == "step" else "gradient_descent")
    fields.setdefault("initialization", default_initialization(network))
    config = TrainingConfig(**fields)
    check_trainable(network, config)
    return config


def default_initialization(network: NetworkConfig) -> str:
    """Give zeros without hidden layers, else glorot_uniform, and he_normal for relu.

    From zeros a relu would never learn: at z = 0 it has no slope.
    """
    first = network.hidden_activation if network.hidden_layers else network.activation
    if first == "relu":
        return "he_normal"
    return "glorot_uniform" if network.hidden_layers else "zeros"


def check_trainable(network: NetworkConfig, training: TrainingConfig) -> None:
    """Check what neither config can check alone.

    Raises:
        InvalidConfigError: the two do not go together; `field` names the one to change in the training.
    """
    if training.learning_rate == "auto":
        _check_auto(network, training)
    if training.loss == "cross_entropy" and network.activation not in LOSSES["cross_entropy"].activations:
        raise InvalidConfigError(
            f"cross_entropy needs sigmoid or softmax outputs, got {network.activation}", field="training/loss"
        )
    if (network.activation == "step") != (training.optimizer == "perceptron_rule"):
        expected = "perceptron_rule" if network.activation == "step" else "an optimizer that follows the gradient"
        raise InvalidConfigError(
            f"{network.activation} is trained by {expected}, got {training.optimizer}",
            field="training/optimizer",
        )
    if training.initialization == "zeros" and network.hidden_layers:
        raise InvalidConfigError(
            "zeros would keep all neurons of a hidden layer equal for ever: "
            f"expected {default_initialization(network)} or another random initialization, got zeros",
            field="training/initialization",
        )
    if training.optimizer == "newton" and network.hidden_layers:
        raise InvalidConfigError(
            f"newton trains networks without hidden layers, got {len(network.hidden_layers)}: use lbfgs",
            field="training/optimizer",
        )
    if training.batch_size is not None and training.optimizer in ("lbfgs", "newton", "perceptron_rule"):
        is_rule = training.optimizer == "perceptron_rule"
        reason = "takes one instance at a time" if is_rule else "takes the whole data set"
        raise InvalidConfigError(
            f"{training.optimizer} {reason}: expected batch_size null, got {training.batch_size}",
            field="training/batch_size",
        )
    if training.l2 > 0 and training.optimizer == "perceptron_rule":
        raise InvalidConfigError(
            f"perceptron_rule minimises no cost to add a penalty to: expected l2 0, got {training.l2!r}",
            field="training/l2",
        )


def check_learning_rate(learning_rate: LearningRate) -> None:
    """Check that it is "auto" or a number to learn with.

    Raises:
        InvalidConfigError: it is neither.
    """
    is_valid = learning_rate == "auto" if isinstance(learning_rate, str) else 0 < learning_rate < math.inf
    if not is_valid:
        raise InvalidConfigError(
            f'learning_rate must be above 0 and finite, or "auto", got {learning_rate!r}',
            field="training/learning_rate",
        )


def _check_auto(network: NetworkConfig, training: TrainingConfig) -> None:
    if network.hidden_layers:
        reason = f"a network without hidden layers, got {len(network.hidden_layers)}"
    elif network.activation == "step":
        reason = "a network without hidden layers whose outputs have a gradient, got step"
    elif training.optimizer == "adam":
        reason = "steps as long as the gradient says, got adam, which takes its own"
    else:
        return
    raise InvalidConfigError(f"auto needs {reason}: give a number", field="training/learning_rate")


def _check_one_of(field: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise InvalidConfigError(f"expected one of {', '.join(allowed)}, got {value!r}", field=field)


def _check_whole(field: str, value: int, *, low: int, high: int | None = None) -> None:
    if value < low or (high is not None and value > high):
        limits = f"at least {low:,}" if high is None else f"{low:,} to {high:,}"
        raise InvalidConfigError(f"expected {limits}, got {value!r}", field=field)
