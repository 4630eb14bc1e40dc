"""The maths of the service: what a perceptron is, how it learns and what it predicts.

NumPy only. No input or output, no clock, no environment, no logging. Everything that changes a result is an argument;
the only globals are the tables of activations, losses, initializations and optimizers.

Source of the maths: S. Ravi, "Neural Networks: The Math", 2022.
"""

from perceptron.activations import ACTIVATIONS
from perceptron.architecture import Architecture, NetworkConfig, flatten, hidden_activations
from perceptron.arrays import row_blocks
from perceptron.config import LearningRate, TrainingConfig, ValidationConfig, check_size, resolve_training_config
from perceptron.cost import Networks
from perceptron.course import constant_cost
from perceptron.data.dataset import Dataset
from perceptron.data.splitting import assign_folds, held_out_parts, is_held_out, split, validation_rows
from perceptron.data.task import (
    MAX_CLASSES,
    Task,
    as_column,
    encode_classes,
    encode_column,
    resolve_column,
    resolve_task,
)
from perceptron.data.weighting import class_weights, weights_of_classes
from perceptron.defaults import Defaults, Named, choose_defaults
from perceptron.errors import (
    DimensionError,
    DivergedError,
    InvalidConfigError,
    InvalidDatasetError,
    OutputNotFiniteError,
    PerceptronError,
    TargetsOutOfRangeError,
)
from perceptron.explanation import explain
from perceptron.initialization import INITIALIZATIONS
from perceptron.losses import LOSSES
from perceptron.memory import is_mapped, training_bytes
from perceptron.metric_sums import MetricSums
from perceptron.metrics import EXACT_ROWS, evaluate
from perceptron.network import Layer, Network, forward
from perceptron.objective import Objective
from perceptron.one_instance import ForwardOne, forward_one
from perceptron.optimizers import OPTIMIZERS
from perceptron.optimizers.curvature import with_learning_rate
from perceptron.prediction import predict_outputs, predict_side_by_side, predictions
from perceptron.preprocessing.columns import UNKNOWN, Column, TableEncoder
from perceptron.preprocessing.standardization import Standardization, fold, unfold, without_centre, without_constants
from perceptron.preprocessing.target_scaling import TargetScaling
from perceptron.rowwise import Rowwise
from perceptron.states import state_types
from perceptron.sweeps.candidates import Candidate, SweepProgress, TrainedNetwork
from perceptron.sweeps.states import OneByOneState, RaceState
from perceptron.sweeps.sweep import fit_sweep
from perceptron.training import EpochResult, TrainingState, fit, result_of

__all__ = [
    "ACTIVATIONS",
    "EXACT_ROWS",
    "INITIALIZATIONS",
    "LOSSES",
    "MAX_CLASSES",
    "OPTIMIZERS",
    "UNKNOWN",
    "Architecture",
    "Candidate",
    "Column",
    "Dataset",
    "Defaults",
    "DimensionError",
    "DivergedError",
    "EpochResult",
    "ForwardOne",
    "InvalidConfigError",
    "InvalidDatasetError",
    "Layer",
    "LearningRate",
    "MetricSums",
    "Named",
    "Network",
    "NetworkConfig",
    "Networks",
    "Objective",
    "OneByOneState",
    "OutputNotFiniteError",
    "PerceptronError",
    "RaceState",
    "Rowwise",
    "Standardization",
    "SweepProgress",
    "TableEncoder",
    "TargetScaling",
    "TargetsOutOfRangeError",
    "Task",
    "TrainedNetwork",
    "TrainingConfig",
    "TrainingState",
    "ValidationConfig",
    "as_column",
    "assign_folds",
    "check_size",
    "choose_defaults",
    "class_weights",
    "constant_cost",
    "encode_classes",
    "encode_column",
    "evaluate",
    "explain",
    "fit",
    "fit_sweep",
    "flatten",
    "fold",
    "forward",
    "forward_one",
    "held_out_parts",
    "hidden_activations",
    "is_held_out",
    "is_mapped",
    "predict_outputs",
    "predict_side_by_side",
    "predictions",
    "resolve_column",
    "resolve_task",
    "resolve_training_config",
    "result_of",
    "row_blocks",
    "split",
    "state_types",
    "training_bytes",
    "unfold",
    "validation_rows",
    "weights_of_classes",
    "with_learning_rate",
    "without_centre",
    "without_constants",
]
