"""Networks of many candidates and folds trained together: each epoch is one product for all that still run."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Rows
from perceptron.cost import Networks
from perceptron.errors import InvalidConfigError
from perceptron.objective import Objective
from perceptron.optimizers import OPTIMIZERS
from perceptron.optimizers.curvature import curvature, rate_for
from perceptron.optimizers.optimizer import Iterate, Problem, Training
from perceptron.stopping import Kept, is_finite
from perceptron.sweeps.candidates import Candidate, SweepProgress, TrainedNetworks
from perceptron.sweeps.plan import SweepPlan
from perceptron.sweeps.states import NetworkResult, RaceState
from perceptron.training import initial_parameters


def train_together(plan: SweepPlan, resume_from: RaceState | None) -> Iterator[SweepProgress]:
    """Train all networks at once."""
    race = _Race(plan)
    state = race.first_state() if resume_from is None else _checked(resume_from, plan)
    training = race.training(state.running)
    while state.running.size:
        with np.errstate(all="ignore"):
            state, has_fewer = race.next_state(state, training)
        if has_fewer:
            training = race.training(state.running)
        if state.epoch % plan.every == 0 or not state.running.size:
            yield race.progress(state)


class _Race:
    """What does not change while networks are trained together. Arrays are by network."""

    def __init__(self, plan: SweepPlan) -> None:
        self._plan = plan
        self._objective = Objective(
            plan.architecture, plan.dataset, loss=plan.config.loss, folds=plan.units.folds, n_threads=plan.n_threads
        )
        self._learning_rates = _learning_rates(plan)
        candidates, folds = zip(*plan.networks, strict=True)
        has_hidden_layers = bool(plan.network_config.hidden_layers)
        self._adapts = np.array([has_hidden_layers and plan.candidates[k].learning_rate == "auto" for k in candidates])
        l2 = np.array([plan.candidates[k].l2 for k in candidates])
        self._networks = Networks(l2, None if plan.units.fold_of is None else np.array(folds))

    def training(self, running: Rows) -> Training:
        """Give the way to train those that still run."""
        problem = Problem(
            self._objective, self._networks.take(running), self._learning_rates[running], adapts=self._adapts[running]
        )
        return OPTIMIZERS[self._plan.config.optimizer].training(problem)

    def first_state(self) -> RaceState:
        """Give the state of epoch 0."""
        plan, n = self._plan, len(self._plan.networks)
        of_candidates = [
            initial_parameters(plan.architecture, plan.network_config, one.config(plan.config))
            for one in plan.candidates
        ]
        parameters = np.repeat(of_candidates, len(plan.units.held_out), axis=0)
        with np.errstate(all="ignore"):
            iterate = self.training(np.arange(n)).start(parameters)
        held_out_costs = None if plan.units.fold_of is None else np.full(n, np.inf)
        kept = Kept(np.zeros(n, dtype=np.intp), parameters.copy(), np.full(n, np.inf), held_out_costs)
        course = plan.rule.begin(iterate.costs, np.tile(plan.constant_costs, len(plan.candidates)))
        return RaceState(0, iterate, np.arange(n), kept, np.zeros(n, dtype=np.intp), (None,) * n, course)

    def next_state(self, state: RaceState, training: Training) -> tuple[RaceState, bool]:
        """Train one epoch, and tell whether networks have stopped with it. Kept epochs change in place."""
        epoch, running, kept, rule = state.epoch + 1, state.running, state.kept, self._plan.rule
        iterate = training.epoch(state.iterate, epoch)
        finite = is_finite(iterate)
        state.epochs[running] = epoch
        self._keep(kept, epoch, iterate, running, finite)
        course = state.course.after(state.iterate.costs, iterate.costs)
        reasons = rule.reasons(
            epoch,
            course,
            is_finite=finite.tolist(),
            best_epochs=kept.epochs[running].tolist(),
            kept_costs=kept.costs[running].tolist(),
        )
        state = state._replace(epoch=epoch, iterate=iterate, course=course)
        stopping = [which for which, reason in enumerate(reasons) if reason is not None]
        if not stopping:
            return state, False
        stop_reasons = list(state.stop_reasons)
        for which in stopping:
            stop_reasons[running[which]] = reasons[which]
        rest = np.delete(np.arange(len(running)), stopping)
        fewer = state._replace(
            iterate=iterate.take(rest),
            running=running[rest],
            stop_reasons=tuple(stop_reasons),
            course=course.take(rest),
        )
        return fewer, True

    def _keep(self, kept: Kept, epoch: int, iterate: Iterate, running: Rows, finite: NDArray[np.bool_]) -> None:
        """Keep the epoch of each running network that is finite and, with early stopping, its best so far."""
        is_kept = finite
        if self._plan.patience is not None and kept.held_out_costs is not None and iterate.held_out_costs is not None:
            is_kept = finite & (iterate.held_out_costs < kept.held_out_costs[running])
        networks = running[is_kept]
        kept.epochs[networks] = epoch
        kept.parameters[networks], kept.costs[networks] = iterate.parameters[is_kept], iterate.costs[is_kept]
        if kept.held_out_costs is not None and iterate.held_out_costs is not None:
            kept.held_out_costs[networks] = iterate.held_out_costs[is_kept]

    def progress(self, state: RaceState) -> SweepProgress:
        """Describe a state."""
        kept, plan = state.kept, self._plan
        return SweepProgress(
            state.epoch,
            n_running=len(state.running),
            cost=plan.raw_cost(_lowest(kept.costs)),
            validation_cost=None if kept.held_out_costs is None else plan.raw_cost(_lowest(kept.held_out_costs)),
            is_last=not state.running.size,
            total_epochs=state.epoch,
            trained=lambda: self._trained(_copied(state)),
            state=lambda: _copied(state),
        )

    def _trained(self, state: RaceState) -> TrainedNetworks:
        return TrainedNetworks(len(state.epochs), lambda k: self._plan.trained(k, self._result(state, k)))

    def _result(self, state: RaceState, k: int) -> NetworkResult:
        kept, reason = state.kept, state.stop_reasons[k]
        is_usable = reason != "diverged"
        return NetworkResult(
            kept.parameters[k] if is_usable else None,
            float(kept.costs[k]) if is_usable else None,
            float(kept.held_out_costs[k]) if is_usable and kept.held_out_costs is not None else None,
            int(state.epochs[k]),
            int(kept.epochs[k]),
            reason,
            float(self._learning_rates[k]),
        )


def _copied(state: RaceState) -> RaceState:
    """Copy what a race changes in place."""
    return state._replace(kept=state.kept.copy(), epochs=state.epochs.copy())


def _checked(state: RaceState, plan: SweepPlan) -> RaceState:
    n_parameters = plan.architecture.n_parameters
    expected, running = (len(plan.networks), n_parameters), (len(state.running), n_parameters)
    if state.kept.parameters.shape != expected or state.iterate.parameters.shape != running:
        raise InvalidConfigError(
            f"expected to resume from parameters {expected}, got {state.kept.parameters.shape}", field="network"
        )
    return _copied(state)


def _learning_rates(plan: SweepPlan) -> NDArray[np.float64]:
    """Give the learning rate of each network."""

    @cache
    def curvature_of(fold: int | None, seed: int) -> float:
        config = replace(plan.config, seed=seed)
        return curvature(plan.units.training_set(fold, plan.dataset), plan.network_config, config)

    def rate(one: Candidate, fold: int | None) -> float:
        if not isinstance(one.learning_rate, str):
            return one.learning_rate
        # Without hidden layers the seed does not matter.
        return rate_for(curvature_of(fold, one.seed if plan.network_config.hidden_layers else 0), one.l2)

    return np.array([rate(one, fold) for one in plan.candidates for fold in plan.units.held_out])


def _lowest(costs: NDArray[np.float64]) -> float | None:
    finite = costs[np.isfinite(costs)]
    return float(finite.min()) if finite.size else None
