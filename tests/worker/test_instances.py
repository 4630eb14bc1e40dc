"""Instances of a table: the same in memory and in a file, whose rows become features block by block."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perceptron import (
    Candidate,
    Dataset,
    NetworkConfig,
    Standardization,
    TrainingConfig,
    ValidationConfig,
    fit,
    flatten,
    fold,
    resolve_task,
    validation_rows,
)
from storage.blobs import BlobStore
from storage.jobs.attempt import Attempt
from storage.jobs.spec import DataReference, Sweep, TableReference, TrainingSpec
from storage.jobs.store import JobStore
from tests.builders import training_spec
from worker.instances import Instances, load_instances
from worker.single import metrics_of

N = 1_000
RNG = np.random.default_rng(0)
AGES = [None if each < 25 else float(each) for each in RNG.integers(20, 70, N)]
PLANS = [None if each == 3 else ["basic", "plus", "pro"][each] for each in RNG.integers(0, 4, N)]
CLASSES = np.where(RNG.random(N) < 0.3, "churn", "stay").tolist()
WEIGHTS = RNG.integers(0, 3, N).astype(float).tolist()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "blobs").as_uri())


def a_table(blobs: BlobStore, **columns: Any) -> str:
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    with blobs.scratch() as folder:
        pq.write_table(table, folder / "table.parquet", row_group_size=300)
        return blobs.put_file(folder / "table.parquet")


def churn(blobs: BlobStore, **more: Any) -> TrainingSpec:
    blob = a_table(
        blobs,
        age=AGES,
        plan=pa.array(PLANS).dictionary_encode(),
        y=pa.array(CLASSES).dictionary_encode(),
        w=WEIGHTS,
    )
    task, _ = resolve_task(["churn", "stay"])
    table = TableReference(("age", "plan"), "y", **more)
    return replace(
        training_spec(), task=task, data=DataReference(blob, N, 6), table=table, feature_names=(), validation=None
    )


def loaded(jobs: JobStore, blobs: BlobStore, spec: TrainingSpec) -> Instances:
    attempt = jobs.claim(jobs.submit("m", spec, metadata={}).id)
    assert isinstance(attempt, Attempt)
    return load_instances(attempt, blobs)


def arrays(dataset: Dataset | None) -> list[np.ndarray]:
    assert dataset is not None
    return [dataset.features[:], dataset.targets[:], *(each for each in [dataset.cost_weights] if each is not None)]


@pytest.mark.parametrize("more", [{}, {"weights": "w"}, {"weights": "w", "class_weights": (3.0, 1.0)}])
def test_a_file_has_the_rows_that_memory_has(
    jobs: JobStore, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    spec = churn(blobs, **more)
    in_memory = loaded(jobs, blobs, spec)
    monkeypatch.setattr("perceptron.memory._MAPPED_BYTES", 0)
    on_disk = loaded(jobs, blobs, spec)
    assert on_disk.encoder == in_memory.encoder
    assert in_memory.spec.feature_names == (
        "age", "age:missing", "plan=<missing>", "plan=basic", "plan=plus", "plan=pro"
    )  # fmt: skip
    for ours, theirs in zip(arrays(on_disk.dataset), arrays(in_memory.dataset), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    if more:
        assert in_memory.dataset.n_instances == sum(weight > 0 for weight in WEIGHTS)


def test_rows_of_weight_0_teach_no_level(jobs: JobStore, blobs: BlobStore) -> None:
    blob = a_table(blobs, c=pa.array(["a", "b", "c"]).dictionary_encode(), y=[1.0, 2.0, 3.0], w=[1.0, 0.0, 2.0])
    task, _ = resolve_task([1.5, 2.0])
    spec = replace(
        training_spec(),
        task=task,
        data=DataReference(blob, 2, 3),
        table=TableReference(("c",), "y", "w"),
        feature_names=(),
    )
    found = loaded(jobs, blobs, spec)
    assert found.spec.feature_names == ("c=a", "c=c")
    assert found.dataset.features.tolist() == [[1, 0], [0, 1]]
    assert found.dataset.instance_weights is not None and found.dataset.instance_weights.tolist() == [1, 2]


@pytest.mark.parametrize("exact_rows", [N, N - 1])
def test_rows_that_are_held_out_are_set_apart(
    jobs: JobStore, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, exact_rows: int
) -> None:
    monkeypatch.setattr("perceptron.memory._MAPPED_BYTES", 0)
    monkeypatch.setattr("worker.instances.EXACT_ROWS", exact_rows)
    spec = replace(churn(blobs), validation=ValidationConfig(0.2))
    found = loaded(jobs, blobs, spec)
    assert found.held_out is not None
    n_held_out = found.held_out.n_instances
    assert found.dataset.n_instances + n_held_out == N
    if exact_rows == N:  # classes keep their shares
        assert n_held_out == 200
        assert abs(found.held_out.targets[:].mean() - found.dataset.targets[:].mean()) < 1 / 200
    else:  # drawn one by one: 200 give or take three standard deviations of 12.6
        assert 160 < n_held_out < 240


@pytest.mark.parametrize("mapped_bytes", [0, 10**9])
def test_a_missing_number_is_the_mean_of_the_rows_trained_on(
    jobs: JobStore, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, mapped_bytes: int
) -> None:
    monkeypatch.setattr("perceptron.memory._MAPPED_BYTES", mapped_bytes)
    blob = a_table(blobs, a=[None, *map(float, range(1, 20))], y=[float(i * i) for i in range(20)])
    task, targets = resolve_task([float(i * i) for i in range(20)])
    spec = replace(
        training_spec(), task=task, data=DataReference(blob, 20, 2), table=TableReference(("a",), "y"), feature_names=()
    )
    held_out = set(validation_rows(Dataset(targets, targets), task, 0.5, spec.training.seed).tolist())
    of_trained = np.mean([i for i in range(1, 20) if i not in held_out])

    def mean(**more: Any) -> float:
        found = loaded(jobs, blobs, replace(spec, **more)).encoder
        assert found is not None
        return found.columns[0].mean

    assert mean(validation=None) == 10.0 != pytest.approx(of_trained)
    assert mean(validation=ValidationConfig(0.5)) == pytest.approx(of_trained)
    assert mean(validation=ValidationConfig(folds=4)) == 10.0  # the version is trained on all rows
    refit = Sweep((Candidate(0.1, 0.0, 0),), refit=True)
    assert mean(validation=ValidationConfig(0.5), sweep=refit) == 10.0
    assert mean(validation=ValidationConfig(0.5), sweep=replace(refit, refit=False)) == pytest.approx(of_trained)


@pytest.mark.parametrize("optimizer", ["newton", "lbfgs", "adam"])
@pytest.mark.parametrize("weights", [None, "w"])
def test_a_file_trains_to_what_memory_does(
    jobs: JobStore, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, optimizer: str, weights: str | None
) -> None:
    spec = churn(blobs, weights=weights)
    batches = {"batch_size": 64, "learning_rate": 0.01} if optimizer == "adam" else {}
    config = TrainingConfig(loss="cross_entropy", optimizer=optimizer, l2=0.01, max_epochs=20, tolerance=0.0, **batches)

    def trained() -> tuple[np.ndarray, dict[str, Any]]:
        rows = loaded(jobs, blobs, spec).dataset
        standardization = Standardization.of(rows.features, rows.instance_weights)
        standardized = rows.with_features(standardization.apply(rows.features))
        *_, last = fit(standardized, NetworkConfig("sigmoid", hidden_layers=(4,) * (optimizer == "adam")), config)
        return flatten(last.network), metrics_of(spec, rows, fold(last.network, standardization))

    in_memory, its_metrics = trained()
    monkeypatch.setattr("perceptron.memory._MAPPED_BYTES", 0)
    monkeypatch.setattr("worker.single.EXACT_ROWS", N // 4)
    on_disk, metrics = trained()
    np.testing.assert_allclose(on_disk, in_memory, rtol=1e-9, atol=1e-12)
    assert metrics.pop("roc_auc") == pytest.approx(its_metrics.pop("roc_auc"), abs=1e-3)
    assert metrics.pop("confusion_matrix") == its_metrics.pop("confusion_matrix")
    assert metrics == pytest.approx(its_metrics, rel=1e-9)
