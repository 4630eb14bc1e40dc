"""From a sweep to its candidates: every combination, or random draws."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from perceptron import Candidate, TrainingConfig
from service.http.parsing import refuse
from service.jobs.payloads import SweepRange, SweepSettings


def expand(sweep: SweepSettings, training: TrainingConfig, max_candidates: int) -> tuple[Candidate, ...]:
    """Return the candidates of a sweep; settings that it does not vary come from the config.

    Raises:
        InvalidRequestError: nothing is varied, there are too many candidates, or a range is given without `random`.
    """
    varied: dict[str, Sequence[Any] | SweepRange] = {
        name: values
        for name, values in (
            ("learning_rate", sweep.learning_rate),
            ("l2", sweep.l2),
            ("seed", sweep.seed),
        )
        if values is not None
    }
    if not varied:
        refuse("/sweep", "must vary at least one of learning_rate, l2 and seed")
    for name, values in varied.items():
        if isinstance(values, SweepRange) and sweep.random is None:
            refuse(f"/sweep/{name}", 'a range needs "random", the number of candidates to draw from it')
        if isinstance(values, SweepRange) and not values.low < values.high:
            refuse(f"/sweep/{name}/high", f"must be above low, {values.low!r}, not {values.high!r}")
        if isinstance(values, SweepRange) and values.log and values.low <= 0:
            refuse(f"/sweep/{name}/low", f"must be above 0 for a logarithmic range, not {values.low!r}")
    lengths = [len(values) for values in varied.values() if not isinstance(values, SweepRange)]
    n_candidates = sweep.random or math.prod(lengths)
    if n_candidates > max_candidates:
        refuse("/sweep", f"must give at most {max_candidates} candidates (MAX_CANDIDATES), not {n_candidates}")
    common = {"learning_rate": training.learning_rate, "l2": training.l2, "seed": training.seed}
    combinations = _random(varied, sweep.random, training.seed) if sweep.random else itertools.product(*varied.values())
    return tuple(Candidate(**(common | dict(zip(varied, values, strict=True)))) for values in combinations)


def _random(varied: dict[str, Any], n_draws: int, seed: int) -> list[list[Any]]:
    """Draw each setting independently: one of the values of a list, or a number in a range."""
    # A stream of its own: the training draws from [seed, epoch], the split from [seed, 0, 1].
    rng = np.random.default_rng([seed, 0, 2])
    columns: list[list[Any]] = []
    for values in varied.values():
        if not isinstance(values, SweepRange):
            columns.append([values[i] for i in rng.integers(0, len(values), n_draws)])
        elif values.log:
            columns.append(np.exp(rng.uniform(math.log(values.low), math.log(values.high), n_draws)).tolist())
        else:
            columns.append(rng.uniform(values.low, values.high, n_draws).tolist())
    return [list(row) for row in zip(*columns, strict=True)]
