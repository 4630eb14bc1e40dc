"""Small valid things for tests that need one and do not care which."""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from perceptron import (
    Dataset,
    Layer,
    Network,
    NetworkConfig,
    Task,
    TrainingConfig,
    ValidationConfig,
    resolve_task,
)
from service.predict.memory.loaded_models import LoadedModels
from storage.availability import as_unavailable
from storage.blobs import BlobStore
from storage.circuit_breaker import CircuitBreaker
from storage.codec import encode_dataset, encode_model
from storage.jobs.attempt import Attempt
from storage.jobs.description import Description
from storage.jobs.reports import Progress, Result
from storage.jobs.spec import DataReference, Sweep, TrainingSpec
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.queue import TrainingQueue

OR_FEATURES = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
OR_TARGETS = [0.0, 1.0, 1.0, 1.0]


def training_spec(
    blobs: BlobStore | None = None,
    *,
    features: list[list[float]] = OR_FEATURES,
    targets: list[float] | list[str] = OR_TARGETS,
    alias: str | None = None,
    validation: ValidationConfig | None = None,
    time_limit_s: float | None = None,
    sweep: Sweep | None = None,
    hidden_layers: tuple[int, ...] = (),
    **training: Any,
) -> TrainingSpec:
    """A spec for one sigmoid neuron that learns logical OR; with a blob store its instances are really there."""
    task, encoded_targets = resolve_task(targets)
    dataset = Dataset(np.array(features), encoded_targets)
    blob = blobs.put(encode_dataset(dataset)) if blobs else "0" * 64
    return TrainingSpec(
        task=task,
        network=NetworkConfig(activation=task.activation, hidden_layers=hidden_layers),
        training=TrainingConfig(
            initialization="glorot_uniform" if hidden_layers else "zeros", loss=task.loss, **training
        ),
        validation=validation,
        feature_names=tuple(f"x{k}" for k in range(dataset.n_features)),
        data=DataReference(blob, dataset.n_instances, dataset.n_features),
        time_limit_s=time_limit_s,
        alias=alias,
        sweep=sweep,
    )


def loaded_models(store: ModelStore, *, clock: Callable[[], float] = time.monotonic, **options: Any) -> LoadedModels:
    """The models of a store in memory, with the jobs of the same Redis."""
    breaker = CircuitBreaker(as_unavailable, clock=clock)
    return LoadedModels(store, JobStore(store._redis, TrainingQueue(store._redis)), breaker, **options)


def claimed(jobs: JobStore, model: str = "or", **spec: Any) -> Attempt:
    """The first attempt at a new job."""
    attempt = jobs.claim(jobs.submit(model, training_spec(**spec), metadata={}).id)
    assert attempt is not None
    return attempt


def progress(epoch: int = 1, cost: float = 0.25) -> Progress:
    """How far a job is that trains up to 1,000 epochs."""
    return Progress(epoch, 1000, cost, None, "2026-11-24T02:08:00.000Z")


RESULT = Result("converged", epochs=1, best_epoch=1, cost=0.25, validation_cost=None, metrics={"accuracy": 1.0})


def description(attempt: Attempt, weights: bytes = b"w") -> Description:
    """How a network of an attempt came to be: what its spec asked for, and `RESULT`."""
    spec = attempt.job.spec
    return Description.of(attempt.job, RESULT, training=spec.training, weights=weights, n_threads=1)


def publish(jobs: JobStore, model: str = "or", *, weight: float = 1.0, **spec: Any) -> int:
    """Publish a version whose two weights are `weight` and whose bias is 0; return its number."""
    attempt = claimed(jobs, model, **spec)
    weights = encode_model(Network((Layer(np.full((2, 1), weight), np.zeros(1), "sigmoid"),)), None)
    return attempt.publish(weights, description(attempt, weights), RESULT)


def publish_layers(jobs: JobStore, model: str, *, widths: tuple[int, ...]) -> int:
    """Publish a regression with tanh between layers of these widths, the features first; return its number."""
    rng = np.random.default_rng(1)
    layers = tuple(
        Layer(rng.normal(size=(before, after)), np.zeros(after), "identity" if after == widths[-1] else "tanh")
        for before, after in pairwise(widths)
    )
    attempt = claimed(jobs, model)
    encoded = encode_model(Network(layers), None)
    described = replace(
        description(attempt, encoded),
        task=Task(
            kind="regression", classes=None, activation="identity", loss="mean_squared_error", n_outputs=widths[-1],
            is_list=widths[-1] > 1,
        ),
        network=NetworkConfig(activation="identity", hidden_layers=widths[1:-1]),
        feature_names=tuple(f"x{k}" for k in range(widths[0])),
        metrics={},
    )  # fmt: skip
    return attempt.publish(encoded, described, RESULT)


def publish_network(
    jobs: JobStore,
    model: str = "or",
    *,
    weights: list[list[float]],
    classes: list[str] | list[int] | None,
    is_list: bool = False,
    feature_names: tuple[str, ...] | None = None,
) -> int:
    """Publish a version of one layer with bias 0, a classification or, without classes, a regression."""
    attempt = claimed(jobs, model)
    task = Task(
        kind="classification" if classes else "regression",
        classes=tuple(classes) if classes else None,  # type: ignore[arg-type]  # all of one type
        activation="softmax" if classes else "identity",
        loss="cross_entropy" if classes else "mean_squared_error",
        n_outputs=len(weights[0]),
        is_list=is_list,
    )
    layer = Layer(np.array(weights, dtype=float), np.zeros(len(weights[0])), task.activation)
    encoded = encode_model(Network((layer,)), None)
    names = feature_names or tuple(f"x{k}" for k in range(len(weights)))
    described = replace(
        description(attempt, encoded),
        task=task,
        network=NetworkConfig(activation=task.activation),
        feature_names=names,
        metrics={},
    )
    return attempt.publish(encoded, described, RESULT)


def steep() -> dict[str, Any]:
    """A job for a model without a bound on its outputs: 1e308 for every feature is too large for it."""
    return {
        "model": "steep",
        "data": {"features": [[1, 0], [0, 1]], "targets": [20.0, 20.0]},
        "network": {"activation": "identity"},
        "training": {"standardize": False, "learning_rate": 0.1},
    }
