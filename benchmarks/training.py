"""Training compared with naive NumPy, scikit-learn and torch: the targets T1 to T8 in one table.

Run it as `./run bench training [T1 T3 ...]`, which also installs torch; without torch, the other rows are measured. The
contestants of a row take turns, round after round, so that other work on the machine affects all of them alike. A ratio
is taken within a round; its median, smallest and largest value over the rounds are printed. The table is saved as
benchmarks/results/training-<date>.json and .md, next to other rows of the same day, machine and versions.
"""

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import _table
from benchmarks._table import Contestants, Row, machine, report, rounds, seconds
from perceptron import (
    Architecture,
    Candidate,
    Dataset,
    Network,
    NetworkConfig,
    Networks,
    Objective,
    TrainingConfig,
    assign_folds,
    fit,
    fit_sweep,
    flatten,
    resolve_task,
)
from perceptron.network import Layer

try:
    import torch
except ImportError:
    torch = None

N_THREADS = 2
SIGMOID = NetworkConfig("sigmoid")


def row(target: str, what: str, times: dict[str, list[float]], other: str, goal: float) -> Row:
    return _table.row(target, f"{what} vs {other}", times["ours"], times[other], goal)


def synthetic(n_instances: int, n_features: int, dtype: str = "float32") -> Dataset:
    """Draw correlated features, and the class of each instance from a logistic model of them."""
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((10, n_features), dtype=np.float32)
    features = rng.standard_normal((n_instances, n_features), dtype=np.float32)
    features += 0.5 * (rng.standard_normal((n_instances, 10), dtype=np.float32) @ factors)
    features -= features.mean(axis=0)
    features /= features.std(axis=0)
    z = features @ (rng.standard_normal(n_features, dtype=np.float32) / np.sqrt(n_features, dtype=np.float32))
    targets = (rng.random(n_instances) < 1 / (1 + np.exp(-2 * z)))[:, np.newaxis]
    return Dataset(features.astype(dtype, copy=False), targets.astype(dtype))


def standardized(features: np.ndarray) -> np.ndarray:
    scale = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(scale > 0, scale, 1)


def with_blas_threads(n: int, run: Callable[[], object]) -> float:
    with threadpool_limits(n, user_api="blas"):
        return seconds(run)


def naive_epoch(dataset: Dataset, learning_rate: float = 0.5) -> Callable[[], None]:
    """Train one neuron by the equations as they are written."""
    x, y = dataset.features, dataset.targets
    rate, state = x.dtype.type(learning_rate), [np.zeros((x.shape[1], 1), x.dtype), np.zeros(1, x.dtype)]

    def epoch() -> None:
        w, b = state
        y_hat = 1 / (1 + np.exp(-(x @ w + b)))
        ((y - y_hat) ** 2).mean()
        delta = 2 * (y_hat - y) * y_hat * (1 - y_hat) / x.dtype.type(len(x))
        state[:] = w - rate * (x.T @ delta), b - rate * delta.sum(axis=0)

    return epoch


def torch_epoch(dataset: Dataset, n_threads: int, learning_rate: float = 0.5) -> Callable[[], None]:
    torch.set_num_threads(n_threads)
    x, y = torch.from_numpy(dataset.features), torch.from_numpy(dataset.targets)
    layer = torch.nn.Linear(x.shape[1], 1)
    optimizer, loss = torch.optim.SGD(layer.parameters(), lr=learning_rate), torch.nn.MSELoss()

    def epoch() -> None:
        optimizer.zero_grad()
        loss(torch.sigmoid(layer(x)), y).backward()
        optimizer.step()

    return epoch


def times_of_epochs(epoch: Callable[[], object], n_epochs: int) -> float:
    return seconds(lambda: [epoch() for _ in range(n_epochs)]) / n_epochs


def read_all(features: np.ndarray) -> Callable[[], None]:
    """Read every number once, in parallel, as fast as BLAS can."""
    parts = np.array_split(features.reshape(-1), N_THREADS)
    threads = ThreadPoolExecutor(N_THREADS)

    def read() -> None:
        list(threads.map(lambda part: np.dot(part, part), parts))

    return read


def t1_and_t2() -> Iterator[Row]:
    dataset = synthetic(1_000_000, 100)
    config = TrainingConfig(max_epochs=1_000_000, tolerance=0.0, dtype="float32")
    results = fit(dataset, SIGMOID, config, n_threads=N_THREADS)
    naive, read = naive_epoch(dataset), read_all(dataset.features)
    contestants: Contestants = {
        "ours": lambda: with_blas_threads(1, lambda: [next(results) for _ in range(5)]) / 5,
        "naive NumPy": lambda: with_blas_threads(N_THREADS, lambda: [naive() for _ in range(5)]) / 5,
        "one read": lambda: with_blas_threads(1, lambda: [read() for _ in range(5)]) / 5,
    }
    if torch is not None:
        by_torch = torch_epoch(dataset, N_THREADS)
        contestants["torch nn.Linear"] = lambda: times_of_epochs(by_torch, 5)
    times = rounds(contestants, 9)
    what = "1e6 x 100 float32 epoch"
    yield row("T1", what, times, "naive NumPy", 1.6)
    if torch is not None:
        yield row("T2", what, times, "torch nn.Linear", 2.5)
    share = row("T2", f"{what}: share of the read bandwidth", times, "one read", 0.4)
    share.unit = "share"
    yield share


def t3() -> Iterator[Row]:
    features, classes = load_breast_cancer(return_X_y=True)
    dataset = Dataset(standardized(features).astype(np.float32), classes[:, np.newaxis].astype(np.float32))
    n = 10_000
    config = TrainingConfig(max_epochs=n, tolerance=0.0, dtype="float32")

    def by_scikit_learn(*, shuffle: bool) -> float:
        model = MLPClassifier(
            (), solver="sgd", batch_size=569, momentum=0, nesterovs_momentum=False, alpha=0.0, tol=0.0,
            n_iter_no_change=10**9, learning_rate_init=0.5, max_iter=200, shuffle=shuffle,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            time = with_blas_threads(1, lambda: model.fit(dataset.features, classes))
        assert model.n_iter_ == 200, f"stopped after {model.n_iter_} epochs"
        return time / 200

    def by_numpy() -> float:
        epoch = naive_epoch(dataset)
        return with_blas_threads(1, lambda: [epoch() for _ in range(1000)]) / 1000

    contestants: Contestants = {
        "ours": lambda: with_blas_threads(1, lambda: list(fit(dataset, SIGMOID, config, every=n))) / n,
        "naive NumPy": by_numpy,
        # Shuffling is its default, and useless for a full batch.
        "MLPClassifier(()) without shuffle": lambda: by_scikit_learn(shuffle=False),
        "MLPClassifier(())": lambda: by_scikit_learn(shuffle=True),
    }
    if torch is not None:
        by_torch = torch_epoch(dataset, 1)
        contestants["torch nn.Linear"] = lambda: times_of_epochs(by_torch, 1000)
    times = rounds(contestants)
    for other, goal in (
        ("MLPClassifier(()) without shuffle", 50),
        ("MLPClassifier(())", 50),
        ("torch nn.Linear", 35),
        ("naive NumPy", 1),
    ):
        if other in times:
            yield row("T3", "569 x 30 float32 epoch", times, other, goal)


def t4() -> Iterator[Row]:
    cancer, digits = load_breast_cancer(return_X_y=True), load_digits(return_X_y=True)
    one_hot = np.eye(10)[digits[1]]
    data_sets = {
        "breast_cancer": (SIGMOID, Dataset(standardized(cancer[0]), cancer[1][:, np.newaxis].astype(float))),
        "digits": (NetworkConfig("softmax"), Dataset(standardized(digits[0]), one_hot)),
        "900k x 101 float32": (SIGMOID, synthetic(900_000, 101)),
    }
    for name, (network, dataset) in data_sets.items():
        # as docs/api.md recommends
        optimizer = "lbfgs" if name == "digits" else "newton"
        times = time_to_cost(network, dataset, optimizer)
        yield row("T4", f"{name}: time to its cost, {optimizer}", times, "LogisticRegression", 5)


def time_to_cost(network: NetworkConfig, dataset: Dataset, optimizer: str) -> dict[str, list[float]]:
    """Let scikit-learn stop by its own rule, then measure how long we take to reach its cost, to 1e-6 of it."""
    classes = dataset.targets[:, 0] if dataset.n_outputs == 1 else dataset.targets.argmax(axis=1)
    # C = 1 adds |w|^2 / 2 to the sum of the losses
    config = TrainingConfig(
        loss="cross_entropy", optimizer=optimizer, tolerance=0.0, l2=1 / (2 * dataset.n_instances),
        dtype=str(dataset.features.dtype),
    )  # fmt: skip
    model = LogisticRegression(max_iter=10_000).fit(dataset.features, classes)
    goal = cost_of(model, network, dataset, config) * (1 + 1e-6)
    n_threads, n_times = (N_THREADS, 1) if dataset.n_instances > 10_000 else (1, 10)

    def ours() -> None:
        for result in fit(dataset, network, config, n_threads=n_threads):
            if result.cost <= goal:
                return
        raise AssertionError(f"{result.cost} never came down to {goal}")

    def by_scikit_learn() -> None:
        LogisticRegression(max_iter=10_000).fit(dataset.features, classes)

    return rounds(
        {
            "ours": lambda: with_blas_threads(1, lambda: [ours() for _ in range(n_times)]) / n_times,
            "LogisticRegression": lambda: (
                with_blas_threads(n_threads, lambda: [by_scikit_learn() for _ in range(n_times)]) / n_times
            ),
        }
    )


def cost_of(model: LogisticRegression, network: NetworkConfig, dataset: Dataset, config: TrainingConfig) -> float:
    layer = Layer(model.coef_.T, model.intercept_, network.activation)
    parameters = flatten(Network((layer,))).astype(dataset.features.dtype)
    architecture = Architecture.of(network, n_inputs=dataset.n_features, n_outputs=dataset.n_outputs)
    objective = Objective(architecture, dataset, loss=config.loss)
    return float(objective.cost(parameters[np.newaxis], Networks.single(config.l2))[0])


def t5() -> Iterator[Row]:
    rates, penalties = np.geomspace(0.05, 2, 8), (0.0, *np.geomspace(1e-5, 1e-2, 7))
    candidates = [Candidate(float(rate), float(l2), 0) for rate in rates for l2 in penalties]
    network = SIGMOID
    for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-10)):
        dataset = synthetic(100_000, 50, dtype)
        config = TrainingConfig(max_epochs=10, tolerance=0.0, standardize=False, dtype=dtype)
        found: dict[str, list[np.ndarray]] = {}

        def together(dataset=dataset, config=config, found=found) -> None:
            *_, last = fit_sweep(dataset, network, config, candidates, n_threads=N_THREADS, every=10)
            found["together"] = [flatten(one.network) for one in last.trained() if one.network is not None]

        def one_by_one(dataset=dataset, config=config, found=found) -> None:
            found["alone"] = []
            for candidate in candidates:
                *_, last = fit(dataset, network, candidate.config(config), n_threads=N_THREADS, every=10)
                found["alone"].append(flatten(last.network))

        times = rounds(
            {
                "ours": lambda together=together: with_blas_threads(1, together),
                "one by one": lambda one_by_one=one_by_one: with_blas_threads(1, one_by_one),
            }
        )
        difference = float(np.abs(np.array(found["together"]) - np.array(found["alone"])).max())
        assert difference <= tolerance, f"{dtype}: {difference}"
        what = f"64 candidates, 100,000 x 50 {dtype}, 10 epochs (weights differ by {difference:.1g})"
        yield row("T5", what, times, "one by one", 5)


def t6() -> Iterator[Row]:
    dataset = synthetic(100_000, 50)
    classes = dataset.targets[:, 0].astype(int)
    task, _ = resolve_task(classes.tolist())
    fold_of = assign_folds(dataset, task, 5, seed=0)
    n_training = dataset.n_instances * 4 // 5
    strengths = np.geomspace(1e-4, 1e2, 16)
    candidates = [Candidate(0.5, float(1 / (2 * n_training * c)), 0) for c in strengths]
    config = TrainingConfig(loss="cross_entropy", optimizer="lbfgs", tolerance=1e-7, standardize=False, dtype="float32")
    found: dict[str, np.ndarray] = {}

    def ours() -> None:
        *_, last = fit_sweep(dataset, SIGMOID, config, candidates, fold_of=fold_of, n_threads=N_THREADS, every=1000)
        costs = np.array([one.validation_cost for one in last.trained()]).reshape(16, 5)
        found["ours"] = costs.mean(axis=1)

    def grid() -> None:
        search = GridSearchCV(
            LogisticRegression(), {"C": strengths}, scoring="neg_log_loss", cv=PredefinedSplit(fold_of),
            n_jobs=N_THREADS, refit=False,
        )  # fmt: skip
        found["grid"] = -search.fit(dataset.features, classes).cv_results_["mean_test_score"]

    times = rounds({"ours": lambda: with_blas_threads(1, ours), "GridSearchCV(n_jobs=2)": lambda: seconds(grid)})
    difference = float(np.max(np.abs(found["ours"] / found["grid"] - 1)))
    assert difference < 1e-4, f"the held-out costs differ by {difference}"
    what = f"16 settings x 5 folds, 100,000 x 50 float32 (held-out costs differ by {difference:.1g} of them)"
    yield row("T6", what, times, "GridSearchCV(n_jobs=2)", 5)


ALLOWED_BYTES = 300_000_000
"""Memory of its own for the process that trains on a file twice as large."""


def t7() -> Iterator[Row]:
    n_instances, n_features = 2 * ALLOWED_BYTES // 400, 100
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "features.npy")
        features = np.lib.format.open_memmap(path, "w+", np.float32, (n_instances, n_features))
        rng = np.random.default_rng(0)
        for first in range(0, n_instances, 100_000):
            part = features[first : first + 100_000]
            part[...] = rng.standard_normal(part.shape, dtype=np.float32)
        np.save(Path(folder) / "targets.npy", (features[:, :1] > 0).astype(np.float32))
        features.flush()
        del features
        peaks: list[dict[str, float]] = []

        def child(how: str) -> float:
            limit = ALLOWED_BYTES if how == "mapped" else 0
            command = [sys.executable, str(Path(__file__).with_name("_from_file.py")), path, str(limit)]
            answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            if how == "mapped":
                peaks.append(answer)
            return float(answer["seconds"])

        times = rounds({"ours": lambda: child("mapped"), "in memory": lambda: child("in memory")})
    own, peak = (max(answer[name] for answer in peaks) / 1e6 for name in ("own_bytes", "peak_bytes"))
    yield row("T7", "600 MB file, RLIMIT_DATA 300 MB: speed", times, "in memory", 0.7)
    for what, megabytes in (("memory of its own", own), ("resident memory, cached pages of the file included", peak)):
        ratio = ALLOWED_BYTES / 1e6 / megabytes
        yield Row("T7", f"the same: {what}", f"{megabytes:.0f} MB", "300 MB", ratio, ratio, ratio, 1.0)


def t8() -> Iterator[Row]:
    for n_instances, n_features, hidden, dtype, goal in (
        (60_000, 30, (), "float32", 1.0),
        (600_000, 100, (), "float32", 1.5),
        (600_000, 100, (), "float64", 1.5),
        (2_000_000, 30, (), "float32", 1.5),
        (2_000_000, 30, (), "float64", 1.5),
        (30_000, 30, (64, 64), "float32", 1.5),
    ):
        dataset = synthetic(n_instances, n_features, dtype)
        network = NetworkConfig("sigmoid", hidden_layers=hidden)
        config = TrainingConfig(loss="cross_entropy", optimizer="lbfgs", tolerance=0.0, max_epochs=10, dtype=dtype)

        def train(n_threads: int, dataset=dataset, network=network, config=config) -> float:
            return with_blas_threads(1, lambda: list(fit(dataset, network, config, n_threads=n_threads, every=10)))

        times = rounds({"ours": lambda train=train: train(2), "one thread": lambda train=train: train(1)})
        layers = f" with hidden layers {list(hidden)}" if hidden else ""
        what = f"{n_instances:,} x {n_features} {dtype}{layers}, 10 epochs of lbfgs on two threads"
        yield row("T8", what, times, "one thread", goal)


BENCHMARKS = {"T1": t1_and_t2, "T3": t3, "T4": t4, "T5": t5, "T6": t6, "T7": t7, "T8": t8}


def main(chosen: list[str]) -> None:
    if unknown := set(chosen) - set(BENCHMARKS):
        sys.exit(f"expected some of {', '.join(BENCHMARKS)} (T2 is part of T1), got {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    for name in chosen or BENCHMARKS:
        for new in BENCHMARKS[name]():
            rows.append(new)
            print(f"{new.target} {new.what}: {new.ratio:.3g} (goal {new.goal:g})", file=sys.stderr, flush=True)
    report("training", "Training", rows, machine("numpy", "scikit-learn", "torch"))


if __name__ == "__main__":
    main(sys.argv[1:])
