"""What does not change while a sweep trains."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from perceptron.architecture import Architecture, NetworkConfig
from perceptron.arrays import Floats
from perceptron.config import TrainingConfig
from perceptron.course import constant_cost
from perceptron.data.dataset import Dataset
from perceptron.network import Network
from perceptron.preprocessing.standardization import Standardization, without_constants
from perceptron.stopping import StopRule
from perceptron.sweeps.candidates import Candidate, TrainedNetwork
from perceptron.sweeps.fold_units import FoldUnits
from perceptron.sweeps.states import NetworkResult


@dataclass(frozen=True, eq=False)
class SweepPlan:
    """The arguments of `fit_sweep`, checked, and the order of the networks: by candidate, then by fold."""

    dataset: Dataset
    """in the common units of the folds, and in the dtype asked for"""
    network_config: NetworkConfig
    config: TrainingConfig
    """common to all candidates"""
    candidates: Sequence[Candidate]
    units: FoldUnits
    patience: int | None
    n_threads: int
    every: int

    @cached_property
    def architecture(self) -> Architecture:
        """The architecture of every network."""
        return Architecture.of(self.network_config, n_inputs=self.dataset.n_features, n_outputs=self.dataset.n_outputs)

    @cached_property
    def networks(self) -> list[tuple[int, int | None]]:
        """The candidate of each network, and the fold that it does not train on."""
        return [(k, fold) for k in range(len(self.candidates)) for fold in self.units.held_out]

    @cached_property
    def rule(self) -> StopRule:
        """When a network stops."""
        return StopRule.of(self.config, self.patience)

    @cached_property
    def constant_costs(self) -> NDArray[np.float64]:
        """C_null of the rows that train for each fold held out, (n_folds,)."""
        targets, weights, fold_of = self.dataset.targets, self.dataset.cost_weights, self.units.fold_of
        costs: list[float] = []
        for fold in self.units.held_out:
            rows = slice(None) if fold_of is None else np.flatnonzero(fold_of != fold)
            of_rows = None if weights is None else weights[rows]
            activation = self.network_config.activation
            costs.append(constant_cost(targets[rows], of_rows, loss=self.config.loss, activation=activation))
        return np.array(costs)

    def raw_cost(self, cost: float | None) -> float | None:
        """Give a cost in the units of the raw targets (see `TargetScaling.cost_unit`)."""
        return None if cost is None else cost * self.units.targets.cost_unit

    def trained(self, index: int, result: NetworkResult) -> TrainedNetwork:
        """Give the network of an index with its result."""
        candidate, fold = self.networks[index]
        parameters, standardization = result.parameters, self.units.from_raw(fold)
        return TrainedNetwork(
            candidate,
            fold,
            make=None if parameters is None else partial(self._network, parameters, standardization),
            standardization=standardization,
            cost=self.raw_cost(result.cost),
            validation_cost=self.raw_cost(result.validation_cost),
            epochs=result.epochs,
            best_epoch=result.best_epoch,
            stop_reason=result.stop_reason,
            learning_rate=result.learning_rate,
        )

    def _network(self, parameters: Floats, standardization: Standardization) -> Network:
        """Give the network of parameters, for features standardized so and raw targets."""
        network = without_constants(self.architecture.network(parameters), standardization)
        return self.units.targets.fold(network)
