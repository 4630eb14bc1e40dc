"""The maths of the service: what a perceptron is, how it learns and what it predicts.

NumPy only. No input or output, no clock, no environment, no logging, no global state: everything that changes
a result is an argument. Source of the maths: S. Ravi, "Neural Networks: The Math", 2022.
"""

from perceptron.activations import ACTIVATIONS, Activation
from perceptron.architecture import Architecture, flatten
from perceptron.config import (
    DTYPES,
    HIDDEN_ACTIVATIONS,
    INITIALIZATIONS,
    OPTIMIZERS,
    NetworkConfig,
    TrainingConfig,
    ValidationConfig,
    resolve_training_config,
)
from perceptron.dataset import Dataset
from perceptron.errors import (
    DimensionError,
    DivergedError,
    InvalidConfigError,
    InvalidDatasetError,
    OutputNotFiniteError,
    PerceptronError,
    TargetsOutOfRangeError,
)
from perceptron.losses import LOSSES, Loss
from perceptron.metrics import evaluate
from perceptron.network import Layer, LayerGradient, Network, backward, forward, forward_pass
from perceptron.objective import Evaluation, Objective
from perceptron.prediction import predict_outputs, predictions
from perceptron.rosenblatt import perceptron_rule_epoch
from perceptron.splitting import split
from perceptron.standardization import Standardization, fold
from perceptron.task import Targets, Task, TaskKind, resolve_task
from perceptron.training import EpochResult, StopReason, fit
from perceptron.weighting import class_weights

__all__ = [
    "ACTIVATIONS",
    "DTYPES",
    "HIDDEN_ACTIVATIONS",
    "INITIALIZATIONS",
    "LOSSES",
    "OPTIMIZERS",
    "Activation",
    "Architecture",
    "Dataset",
    "DimensionError",
    "DivergedError",
    "EpochResult",
    "Evaluation",
    "InvalidConfigError",
    "InvalidDatasetError",
    "Layer",
    "LayerGradient",
    "Loss",
    "Network",
    "NetworkConfig",
    "Objective",
    "OutputNotFiniteError",
    "PerceptronError",
    "Standardization",
    "StopReason",
    "Targets",
    "TargetsOutOfRangeError",
    "Task",
    "TaskKind",
    "TrainingConfig",
    "ValidationConfig",
    "backward",
    "class_weights",
    "evaluate",
    "fit",
    "flatten",
    "fold",
    "forward",
    "forward_pass",
    "perceptron_rule_epoch",
    "predict_outputs",
    "predictions",
    "resolve_task",
    "resolve_training_config",
    "split",
]
