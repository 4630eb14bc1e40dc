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
    LearningRate,
    NetworkConfig,
    TrainingConfig,
    ValidationConfig,
    resolve_training_config,
)
from perceptron.data.dataset import Dataset
from perceptron.data.splitting import assign_folds, split, validation_rows
from perceptron.data.task import MAX_CLASSES, Targets, Task, TaskKind, resolve_task
from perceptron.data.weighting import class_weights
from perceptron.errors import (
    DimensionError,
    DivergedError,
    InvalidConfigError,
    InvalidDatasetError,
    OutputNotFiniteError,
    PerceptronError,
    TargetsOutOfRangeError,
)
from perceptron.explanation import Explanation, explain
from perceptron.losses import LOSSES, Loss
from perceptron.metrics import evaluate
from perceptron.network import Layer, Network, forward
from perceptron.objective import Evaluation, Folds, Networks, Objective
from perceptron.one_instance import ForwardOne, forward_one
from perceptron.optimizers.curvature import auto_learning_rate, with_learning_rate
from perceptron.optimizers.newton import check_solvable_by_newton
from perceptron.optimizers.rosenblatt import perceptron_rule_epoch
from perceptron.prediction import predict_outputs, predict_side_by_side, predictions
from perceptron.preprocessing.standardization import Standardization, fold, unfold
from perceptron.states import STATE_TYPES
from perceptron.sweeps.candidates import Candidate, SweepProgress, TrainedNetwork
from perceptron.sweeps.race import RaceState
from perceptron.sweeps.sweep import OneByOneState, fit_sweep
from perceptron.training import EpochResult, StopReason, TrainingState, fit, result_of

__all__ = [
    "ACTIVATIONS",
    "DTYPES",
    "HIDDEN_ACTIVATIONS",
    "INITIALIZATIONS",
    "LOSSES",
    "MAX_CLASSES",
    "OPTIMIZERS",
    "STATE_TYPES",
    "Activation",
    "Architecture",
    "Candidate",
    "Dataset",
    "DimensionError",
    "DivergedError",
    "EpochResult",
    "Evaluation",
    "Explanation",
    "Folds",
    "ForwardOne",
    "InvalidConfigError",
    "InvalidDatasetError",
    "Layer",
    "LearningRate",
    "Loss",
    "Network",
    "NetworkConfig",
    "Networks",
    "Objective",
    "OneByOneState",
    "OutputNotFiniteError",
    "PerceptronError",
    "RaceState",
    "Standardization",
    "StopReason",
    "SweepProgress",
    "Targets",
    "TargetsOutOfRangeError",
    "Task",
    "TaskKind",
    "TrainedNetwork",
    "TrainingConfig",
    "TrainingState",
    "ValidationConfig",
    "assign_folds",
    "auto_learning_rate",
    "check_solvable_by_newton",
    "class_weights",
    "evaluate",
    "explain",
    "fit",
    "fit_sweep",
    "flatten",
    "fold",
    "forward",
    "forward_one",
    "perceptron_rule_epoch",
    "predict_outputs",
    "predict_side_by_side",
    "predictions",
    "resolve_task",
    "resolve_training_config",
    "result_of",
    "split",
    "unfold",
    "validation_rows",
    "with_learning_rate",
]
