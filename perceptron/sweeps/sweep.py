"""Train many candidates in one job: together where they can share the products over the data, else one by one."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from perceptron.architecture import NetworkConfig
from perceptron.arrays import Rows
from perceptron.config import TrainingConfig, check_size, check_trainable
from perceptron.data.dataset import Dataset
from perceptron.divergence import Advice
from perceptron.errors import InvalidConfigError
from perceptron.optimizers import OPTIMIZERS
from perceptron.sweeps.candidates import Candidate, SweepProgress
from perceptron.sweeps.fold_units import FoldUnits
from perceptron.sweeps.one_by_one import train_one_by_one
from perceptron.sweeps.plan import SweepPlan
from perceptron.sweeps.race import train_together
from perceptron.sweeps.states import OneByOneState, RaceState, SweepState


def fit_sweep(
    dataset: Dataset,
    network_config: NetworkConfig,
    training_config: TrainingConfig,
    candidates: Sequence[Candidate],
    *,
    fold_of: Rows | None = None,
    early_stopping_patience: int | None = None,
    resume_from: SweepState | None = None,
    n_threads: int = 1,
    every: int = 1,
) -> Iterator[SweepProgress]:
    """Train every candidate, on everything or without each fold in turn, and yield every so many epochs.

    Each gets the weights that `fit` would give it alone, to rounding, and stops by the same rule. A candidate that
    diverges is no error; the sweep fails only when all diverge.

    Args:
        dataset: all instances, as they came: they are standardized here, since each fold has its own units,
            and so are the targets where the config asks for it. What is yielded is in raw units.
        training_config: the settings that the candidates have in common.
        fold_of: (n_instances,), the fold of each instance, 0, 1, ...; instances of -1 are in none and always train.
            None to train on all instances and hold out none.
        early_stopping_patience: epochs without a lower cost of the fold held out; needs folds.
        resume_from: the `state` of a sweep with these same arguments; the epochs after it give the same results, bit
            by bit.

    Raises:
        InvalidConfigError: the configs do not go together, or `resume_from` does not go with them.
        InvalidDatasetError: the data set cannot be used in the dtype asked for.
        DivergedError: (while iterating) every candidate diverged.
    """
    for candidate in candidates:
        check_trainable(network_config, candidate.config(training_config))
    units = FoldUnits(
        dataset,
        fold_of,
        standardize=training_config.standardize,
        scale_targets=training_config.scale_targets,
    )
    plan = SweepPlan(
        units.dataset.as_dtype(training_config.dtype),
        network_config,
        training_config,
        candidates,
        units,
        early_stopping_patience,
        n_threads,
        every,
    )
    check_size(training_config, plan.architecture)
    # Mini-batches of different seeds share no rows.
    has_mini_batches = training_config.mini_batch_size(dataset.n_instances) is not None
    if has_mini_batches or not OPTIMIZERS[training_config.optimizer].races:
        if isinstance(resume_from, RaceState):
            raise _not_of_this_sweep()
        return _unless_all_diverged(train_one_by_one(plan, resume_from or OneByOneState()), plan)
    if isinstance(resume_from, OneByOneState):
        raise _not_of_this_sweep()
    return _unless_all_diverged(train_together(plan, resume_from), plan)


def _not_of_this_sweep() -> InvalidConfigError:
    return InvalidConfigError("expected to resume from a state of this sweep, got one of another", field="training")


def _unless_all_diverged(progress: Iterator[SweepProgress], plan: SweepPlan) -> Iterator[SweepProgress]:
    for result in progress:
        if result.is_last and all(network.stop_reason == "diverged" for network in result.trained()):
            lowest = min(network.learning_rate for network in result.trained())
            advice = Advice(plan.dataset, plan.network_config, replace(plan.config, learning_rate=lowest))
            raise advice.error(result.epoch, math.inf)
        yield result
