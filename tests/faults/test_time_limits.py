"""R27: what was learned by the time limit is published, whatever the training was doing when it came."""

from collections.abc import Callable
from typing import Any

import numpy as np

from perceptron import Candidate, ValidationConfig
from storage.jobs.spec import Sweep
from tests.builders import training_spec
from tests.faults.rig import Rig, wait_for

GRID = tuple(Candidate(0.01 * k, 0.001 * k, seed) for k in range(1, 9) for seed in range(8))
MANY = tuple(Candidate(0.01 + 0.001 * k, 0.0, seed) for k in range(64) for seed in range(16))
FOLDS = {"validation": ValidationConfig(folds=5)}
HELD_OUT = {"validation": ValidationConfig(0.25, early_stopping_patience=100_000)}

# (rows, settings): one epoch takes from less than a millisecond to some seconds
PLACES: list[tuple[int, dict[str, Any]]] = [
    (40, {"time_limit_s": 1.0}),
    (2_000, {"time_limit_s": 1.0, "hidden_layers": (64,), "learning_rate": 1e-3}),
    (20_000, {"time_limit_s": 8.0, "hidden_layers": (400, 400), "learning_rate": 1e-3}),
    (40, {"time_limit_s": 3.0, "sweep": Sweep(MANY), "validation": ValidationConfig(folds=10)}),
    (400, {"time_limit_s": 2.0, "sweep": Sweep(GRID, refit=True), **FOLDS}),
    (2_000, {"time_limit_s": 2.0, "batch_size": 64, "sweep": Sweep(GRID[:4])}),
    (2_000, {"time_limit_s": 0.5, "hidden_layers": (64,), "learning_rate": 1e-3}),
    (2_000, {"time_limit_s": 2.0, "hidden_layers": (16, 16), "optimizer": "lbfgs"}),
    (2_000, {"time_limit_s": 2.0, "hidden_layers": (16,), "optimizer": "adam", "learning_rate": 1e-4}),
    (2_000, {"time_limit_s": 2.0, "hidden_layers": (16,), "optimizer": "momentum", "learning_rate": 1e-4}),
    (2_000, {"time_limit_s": 2.0, "hidden_layers": (16,), "batch_size": 32, "learning_rate": 1e-3, **HELD_OUT}),
    (2_000, {"time_limit_s": 2.0, "hidden_layers": (16,), "learning_rate": 1e-3, **FOLDS}),
    (400, {"time_limit_s": 2.0, "sweep": Sweep(GRID), **HELD_OUT}),
    (400, {"time_limit_s": 2.0, "sweep": Sweep(GRID, refit=True), **HELD_OUT}),
    (400, {"time_limit_s": 2.0, "sweep": Sweep(GRID[:8]), "hidden_layers": (32,), **FOLDS}),
    (400, {"time_limit_s": 2.0, "sweep": Sweep(GRID[:8]), "hidden_layers": (8,), "optimizer": "lbfgs"}),
    (20_000, {"time_limit_s": 6.0, "hidden_layers": (256, 256), "learning_rate": 1e-3}),
    (20_000, {"time_limit_s": 6.0, "hidden_layers": (400,), "learning_rate": 1e-3, **HELD_OUT}),
    (40, {"time_limit_s": 5.0, "sweep": Sweep(MANY * 4), "validation": ValidationConfig(folds=40)}),
    (400, {"time_limit_s": 3.0, "sweep": Sweep(MANY), "validation": ValidationConfig(folds=10)}),
]
N_SHORT = 6


def test_what_was_learned_by_the_time_limit_is_published(start_rig: Callable[..., Rig], times: int) -> None:
    """At 15a4f66 sweeps and large networks failed though epochs were done; all 20 places with `--times 20`."""
    rig = start_rig(n_workers=2, api_processes=0, TRAINING_THREADS="1")
    rng = np.random.default_rng(0)
    job_ids = []
    for n_rows, settings in PLACES[: max(times, N_SHORT)]:
        features = rng.normal(size=(n_rows, 4))
        targets = (features[:, 0] + rng.normal(size=n_rows) > 0).astype(float).tolist()
        common = {"max_epochs": 1_000_000, "tolerance": 0.0}
        spec = training_spec(rig.blobs, features=features.tolist(), targets=targets, **{**common, **settings})
        job_ids.append(rig.jobs.submit("m", spec, metadata={}).id)
    wait_for(lambda: all(rig.jobs.get(job_id).is_done for job_id in job_ids), 60 + 15 * len(job_ids))
    ends = [rig.jobs.get(job_id) for job_id in job_ids]
    has_network = [job.progress is not None for job in ends]
    assert sum(has_network) >= len(ends) - 2  # on a slow machine the first epoch may last longer than the limit
    assert [job.status for job, learned in zip(ends, has_network, strict=True) if learned] == ["succeeded"] * sum(
        has_network
    )
    reasons = {job.result.stop_reason for job in ends if job.result is not None}
    assert reasons <= {"time_limit", "converged", "early_stopping"}
