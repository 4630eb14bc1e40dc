"""How a network learns: settings that are valid once they exist."""

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from perceptron.activations import ACTIVATIONS
from perceptron.architecture import Architecture, NetworkConfig
from perceptron.errors import InvalidConfigError, check_one_of
from perceptron.initialization import INITIALIZATIONS, default_initialization
from perceptron.losses import LOSSES, check_loss
from perceptron.optimizers import OPTIMIZERS
from perceptron.optimizers.optimizer import MAX_HESSIAN_SIZE

LearningRate: TypeAlias = float | Literal["auto"]

DTYPES = ("float32", "float64")
MAX_SEED = 2**32 - 1
MAX_FOLDS = 100


@dataclass(frozen=True)
class TrainingConfig:
    """How a network learns. `resolve_training_config` fills in what depends on the network.

    Raises:
        InvalidConfigError: a value is outside its limits.
    """

    loss: str = "mean_squared_error"
    optimizer: str = "gradient_descent"
    learning_rate: LearningRate = 0.5
    """alpha of the update; `lbfgs` and `newton` ignore it: they search for the length of each step. "auto": as large as
    the curvature of the cost allows (see `auto_learning_rate`)"""
    batch_size: int | None = None
    """instances per update; None: all of them"""
    max_epochs: int = 1000
    tolerance: float | None = None
    """converged when the cost changes by less; 0: never; None: by a rule without a unit, see `StopRule`"""
    l2: float = 0.0
    """adds l2 times the sum of the squared weights, biases not included, to the cost"""
    initialization: str | None = None
    """None: zeros without hidden layers, else glorot_uniform, he_normal for relu"""
    standardize: bool = True
    """whether the caller of `fit` standardizes the features; `fit` takes them as they are"""
    scale_targets: bool = False
    """the same for the targets of identity outputs"""
    seed: int = 0
    dtype: str = "float64"

    def __post_init__(self) -> None:
        check_one_of("training/loss", self.loss, LOSSES)
        check_one_of("training/optimizer", self.optimizer, OPTIMIZERS)
        check_one_of("training/dtype", self.dtype, DTYPES)
        if self.initialization is not None:
            check_one_of("training/initialization", self.initialization, INITIALIZATIONS)
        check_learning_rate(self.learning_rate)
        for name, value in (("tolerance", self.tolerance), ("l2", self.l2)):
            if value is not None and not 0 <= value < math.inf:
                raise InvalidConfigError(
                    f"{name} must be at least 0 and finite, got {value!r}", field=f"training/{name}"
                )
        if self.batch_size is not None:
            _check_whole("training/batch_size", self.batch_size, low=1)
        _check_whole("training/max_epochs", self.max_epochs, low=1)
        _check_whole("training/seed", self.seed, low=0, high=MAX_SEED)

    def mini_batch_size(self, n_instances: int) -> int | None:
        """Give batch_size, or None where that is all instances."""
        return None if self.batch_size is None or self.batch_size >= n_instances else self.batch_size

    @property
    def known_learning_rate(self) -> float:
        """The learning rate, after `with_learning_rate` has replaced "auto" by a number."""
        assert not isinstance(self.learning_rate, str), "with_learning_rate comes before training"
        return self.learning_rate


@dataclass(frozen=True)
class ValidationConfig:
    """Which part of the data set is held out, and how long to wait for its cost to fall.

    Raises:
        InvalidConfigError: the fraction is not between 0 and 1, or the patience is not at least 1 epoch.
    """

    fraction: float = 0.2
    early_stopping_patience: int | None = None
    """epochs without a lower validation cost before training stops; None: never"""
    folds: int | None = None
    """cross-validation with this many folds instead of the fraction; None: the fraction"""

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
    """Fill in the defaults that depend on the network, and check that all fields go with it.

    Args:
        network: the network to train.
        given: fields of `TrainingConfig`; None stands for the default.

    Raises:
        InvalidConfigError: a value is outside its limits, or does not go with the network.
    """
    fields = {name: value for name, value in given.items() if value is not None}
    fields.setdefault("optimizer", default_optimizer(network))
    fields.setdefault("initialization", default_initialization(network))
    config = TrainingConfig(**fields)
    check_trainable(network, config)
    return config


def check_trainable(network: NetworkConfig, training: TrainingConfig) -> None:
    """Check what neither config can check alone.

    Raises:
        InvalidConfigError: the two do not go together; `field` names the one to change in the training.
    """
    name, optimizer, n_hidden = training.optimizer, OPTIMIZERS[training.optimizer], len(network.hidden_layers)
    activation, loss = ACTIVATIONS[network.activation], LOSSES[training.loss]
    if training.scale_targets and network.activation != "identity":
        raise InvalidConfigError(
            f"only targets of identity outputs can be scaled, got {network.activation}", field="training/scale_targets"
        )
    if training.learning_rate == "auto":
        _check_auto(network, training)
    check_loss(training.loss, network.activation)
    if activation.has_gradient != optimizer.follows_gradient:
        expected = "an optimizer that follows the gradient" if activation.has_gradient else default_optimizer(network)
        raise InvalidConfigError(
            f"{network.activation} is trained by {expected}, got {name}", field="training/optimizer"
        )
    if training.initialization == "zeros" and n_hidden:
        raise InvalidConfigError(
            "zeros would keep all neurons of a hidden layer equal forever: "
            f"expected {default_initialization(network)} or another random initialization, got zeros",
            field="training/initialization",
        )
    if n_hidden and not optimizer.allows_hidden_layers:
        raise InvalidConfigError(
            f"{name} trains networks without hidden layers, got {n_hidden}: use lbfgs", field="training/optimizer"
        )
    if optimizer.uses_hessian and loss.gauss_newton is None:
        raise InvalidConfigError(
            f"{name} does not know the second derivatives of {training.loss}: use lbfgs", field="training/optimizer"
        )
    if training.batch_size is not None and not optimizer.takes_batches:
        reason = "takes the whole data set" if optimizer.follows_gradient else "takes one instance at a time"
        raise InvalidConfigError(
            f"{name} {reason}: expected batch_size null, got {training.batch_size}", field="training/batch_size"
        )
    if training.l2 > 0 and not optimizer.follows_gradient:
        raise InvalidConfigError(
            f"{name} minimises no cost to add a penalty to: expected l2 0, got {training.l2!r}", field="training/l2"
        )


def check_size(training: TrainingConfig, architecture: Architecture) -> None:
    """Check that the network is small enough for its optimizer.

    Raises:
        InvalidConfigError: it has too many parameters to solve for them.
    """
    if OPTIMIZERS[training.optimizer].uses_hessian and architecture.n_parameters > MAX_HESSIAN_SIZE:
        raise InvalidConfigError(
            f"{training.optimizer} solves a system of all weights and biases, at most {MAX_HESSIAN_SIZE:,} of them: "
            f"this network has {architecture.n_parameters:,}; use lbfgs",
            field="training/optimizer",
        )


def default_optimizer(network: NetworkConfig) -> str:
    """Give the first optimizer that can train the outputs."""
    has_gradient = ACTIVATIONS[network.activation].has_gradient
    return next(name for name, optimizer in OPTIMIZERS.items() if optimizer.follows_gradient == has_gradient)


def check_learning_rate(learning_rate: LearningRate) -> None:
    """Check that it is "auto" or a valid number.

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
    activation = ACTIVATIONS[network.activation]
    if not activation.has_gradient:
        reason = f"outputs with a gradient, got {network.activation}"
    elif not OPTIMIZERS[training.optimizer].allows_auto:
        reason = f"steps as long as the gradient says, got {training.optimizer}, which takes its own"
    elif not network.hidden_layers and LOSSES[training.loss].curvature(activation) is None:
        reason = f"a known curvature, got {network.activation} outputs with {training.loss}"
    else:
        return
    raise InvalidConfigError(f"auto needs {reason}: give a number", field="training/learning_rate")


def _check_whole(field: str, value: int, *, low: int, high: int | None = None) -> None:
    if value < low or (high is not None and value > high):
        limits = f"at least {low:,}" if high is None else f"{low:,} to {high:,}"
        raise InvalidConfigError(f"expected {limits}, got {value!r}", field=field)
