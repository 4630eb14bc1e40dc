"""Small valid things for tests that need one and do not care which."""

import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from perceptron import (
    Dataset,
    Layer,
    Network,
    NetworkConfig,
    TrainingConfig,
    ValidationConfig,
    resolve_task,
)
from service.predict.memory.loaded_models import LoadedModels
from storage.availability import as_unavailable
from storage.blobs import BlobStore
from storage.circuit_breaker import CircuitBreaker
from storage.codec import encode_dataset, encode_model
from storage.jobs.record import Claim
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
    **training: Any,
) -> TrainingSpec:
    """A spec for one sigmoid neuron that learns logical OR; with a blob store its instances are really there."""
    task, encoded_targets = resolve_task(targets)
    dataset = Dataset(np.array(features), encoded_targets)
    blob = blobs.put(encode_dataset(dataset)) if blobs else "0" * 64
    return TrainingSpec(
        task=task,
        network=NetworkConfig(activation=task.activation),
        training=TrainingConfig(initialization="zeros", loss=task.loss, **training),
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


def claimed(jobs: JobStore, model: str = "or", **spec: Any) -> Claim:
    """A job that an attempt has just begun."""
    claim = jobs.claim(jobs.submit(model, training_spec(**spec), metadata={}).id)
    assert claim is not None
    return claim


def publish(jobs: JobStore, model: str = "or", *, weight: float = 1.0, **spec: Any) -> int:
    """Publish a version whose two weights are `weight` and whose bias is 0; return its number."""
    claim = claimed(jobs, model, **spec)
    weights = encode_model(Network((Layer(np.full((2, 1), weight), np.zeros(1), "sigmoid"),)), None)
    return jobs.publish(
        claim,
        weights=weights,
        description={
            "job": claim.job.id,
            "task": {
                "kind": "binary_classification",
                "classes": [0, 1],
                "activation": "sigmoid",
                "loss": "mean_squared_error",
                "n_outputs": 1,
                "is_list": False,
            },
            "network": {"activation": "sigmoid", "hidden_layers": [], "hidden_activation": "tanh"},
            "feature_names": ["x0", "x1"],
            "metrics": {"accuracy": 1.0},
            "digests": {"weights": hashlib.sha256(weights).hexdigest()},
        },
        result={
            "stop_reason": "converged",
            "epochs": 1,
            "best_epoch": 1,
            "cost": 0.25,
            "validation_cost": None,
            "metrics": {"accuracy": 1.0},
        },
    )


def publish_network(
    jobs: JobStore,
    model: str = "or",
    *,
    weights: list[list[float]],
    classes: list[str] | list[int] | None,
    is_list: bool = False,
) -> int:
    """Publish a version of one layer with bias 0, a classification or, without classes, a regression."""
    claim = claimed(jobs, model)
    layer = Layer(np.array(weights, dtype=float), np.zeros(len(weights[0])), "softmax" if classes else "identity")
    encoded = encode_model(Network((layer,)), None)
    return jobs.publish(
        claim,
        weights=encoded,
        description={
            "job": claim.job.id,
            "task": {
                "kind": "classification" if classes else "regression",
                "classes": classes,
                "activation": layer.activation,
                "loss": "cross_entropy" if classes else "mean_squared_error",
                "n_outputs": len(weights[0]),
                "is_list": is_list,
            },
            "network": {"activation": layer.activation, "hidden_layers": [], "hidden_activation": "tanh"},
            "feature_names": [f"x{k}" for k in range(len(weights))],
            "metrics": {},
            "digests": {"weights": hashlib.sha256(encoded).hexdigest()},
        },
        result={},
    )


def steep() -> dict[str, Any]:
    """A job for a model without a bound on its outputs: 1e308 for every feature is too large for it."""
    return {
        "model": "steep",
        "data": {"features": [[1, 0], [0, 1]], "targets": [20.0, 20.0]},
        "network": {"activation": "identity"},
        "training": {"standardize": False, "learning_rate": 0.1},
    }
