"""Networks of many candidates and folds trained one after the other."""

from collections.abc import Iterator, Sequence

from perceptron.architecture import flatten
from perceptron.errors import DivergedError
from perceptron.optimizers.curvature import with_learning_rate
from perceptron.sweeps.candidates import SweepProgress, TrainedNetworks
from perceptron.sweeps.plan import SweepPlan
from perceptron.sweeps.states import NetworkResult, OneByOneState
from perceptron.training import TrainingState, fit


def train_one_by_one(plan: SweepPlan, state: OneByOneState) -> Iterator[SweepProgress]:
    """Train the networks that are not done yet."""
    done, begun = list(state.done), state.current
    for index in range(len(done), len(plan.networks)):
        for result, current in _train(plan, index, begun):
            yield _progress(plan, [*done, result], current)
        done.append(result)
        begun = None


def _progress(plan: SweepPlan, by_now: Sequence[NetworkResult], current: TrainingState | None) -> SweepProgress:
    is_running = by_now[-1].stop_reason is None
    done = tuple(by_now[:-1] if is_running else by_now)
    validation_costs = [result.validation_cost for result in by_now if result.validation_cost is not None]
    return SweepProgress(
        epoch=max(result.epochs for result in by_now),
        n_running=len(plan.networks) - len(done),
        cost=plan.raw_cost(min((result.cost for result in by_now if result.cost is not None), default=None)),
        validation_cost=plan.raw_cost(min(validation_costs, default=None)),
        is_last=len(done) == len(plan.networks),
        total_epochs=sum(result.epochs for result in by_now),
        trained=lambda: TrainedNetworks(len(by_now), lambda k: plan.trained(k, by_now[k])),
        state=lambda: OneByOneState(done, current if is_running else None),
    )


def _train(
    plan: SweepPlan, index: int, resume_from: TrainingState | None
) -> Iterator[tuple[NetworkResult, TrainingState | None]]:
    """Train one network, and give its result so far and the state to resume from."""
    candidate, fold = plan.networks[index]
    rows = plan.units.training_set(fold, plan.dataset)
    config = with_learning_rate(rows, plan.network_config, plan.candidates[candidate].config(plan.config))
    try:
        for now in fit(
            rows,
            plan.network_config,
            config,
            validation=plan.units.validation_set(fold, plan.dataset),
            early_stopping_patience=plan.patience,
            resume_from=resume_from,
            n_threads=plan.n_threads,
            every=plan.every,
        ):
            best = now.best
            parameters, reason, rate = flatten(best.network), now.stop_reason, config.known_learning_rate
            yield (
                NetworkResult(parameters, best.cost, best.validation_cost, now.epoch, best.epoch, reason, rate),
                now.state,
            )
    except DivergedError as error:
        yield NetworkResult(None, None, None, error.epoch, 0, "diverged", error.learning_rate), None
