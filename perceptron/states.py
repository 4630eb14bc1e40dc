"""What trainings and sweeps go on from: every type that their states are made of."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from perceptron.optimizers.epochs import Iterate
from perceptron.optimizers.gradient import AdamState, MomentumState
from perceptron.optimizers.lbfgs import LbfgsState
from perceptron.optimizers.newton import NewtonState
from perceptron.sweeps.race import RaceState
from perceptron.sweeps.sweep import DoneNetwork, OneByOneState
from perceptron.training import KeptEpoch, TrainingState

STATE_TYPES: Mapping[str, type[Any]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            TrainingState,
            KeptEpoch,
            RaceState,
            OneByOneState,
            DoneNetwork,
            Iterate,
            MomentumState,
            AdamState,
            LbfgsState,
            NewtonState,
        )
    }
)
"""Named tuples by their names. Their fields hold one another, tuples, arrays, numbers, texts and None: that much is
written down and read again."""
