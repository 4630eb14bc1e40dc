"""The estimate of a training's memory is above what trainings really take, and not far above."""

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perceptron import Architecture, Candidate, Dataset, NetworkConfig, TrainingConfig, fit, fit_sweep, training_bytes

N_THREADS = 4
STATUS = Path("/proc/self/status")
pytestmark = pytest.mark.skipif(not STATUS.exists(), reason="reads the peak of a process from /proc")


def peak_bytes() -> int:
    return next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))


def train(results: Any, dataset: Dataset, network: NetworkConfig, config: TrainingConfig, n_folds: int) -> None:
    before = peak_bytes()
    if n_folds:
        candidates = [Candidate(0.1, 0.0, seed) for seed in range(200)]
        fold_of = np.arange(dataset.n_instances) % n_folds
        for progress in fit_sweep(dataset, network, config, candidates, fold_of=fold_of):
            kept: Any = [progress.state(), list(progress.trained())]
    else:
        for result in fit(dataset, network, config, n_threads=N_THREADS):
            kept = [result.state, result.best]
    results.put((len(kept), peak_bytes() - before))


@pytest.mark.parametrize(
    ("optimizer", "hidden_layers", "n_folds"),
    [("lbfgs", (1000,), 0), ("adam", (2000,), 0), ("gradient_descent", (2000,), 0), ("gradient_descent", (), 20)],
)
def test_the_peak_is_below_the_estimate_and_above_a_twentieth_of_it(
    optimizer: str, hidden_layers: tuple[int, ...], n_folds: int
) -> None:
    rng = np.random.default_rng(0)
    dataset = Dataset(rng.normal(size=(1000, 300)), rng.normal(size=(1000, 1)))
    network = NetworkConfig("identity", hidden_layers=hidden_layers)
    initialization = "glorot_uniform" if hidden_layers else "zeros"
    config = TrainingConfig(
        optimizer=optimizer, initialization=initialization, learning_rate=1e-6, max_epochs=3, tolerance=0.0
    )
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=train, args=(results, dataset, network, config, n_folds))
    child.start()
    _, peak = results.get(timeout=60)
    child.join()
    estimate = training_bytes(
        Architecture.of(network, n_inputs=300, n_outputs=1),
        optimizer,
        n_instances=1000,
        n_networks=200 * n_folds or 1,
        n_folds=n_folds,
        n_threads=N_THREADS,
    )
    assert estimate / 20 < peak < estimate
