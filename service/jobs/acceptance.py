"""From a request to train to what a worker needs: arrays in the blob store, and a spec with every default chosen."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceptron import (
    OPTIMIZERS,
    Architecture,
    Candidate,
    Dataset,
    Defaults,
    InvalidDatasetError,
    Named,
    NetworkConfig,
    TargetsOutOfRangeError,
    Task,
    TrainingConfig,
    ValidationConfig,
    as_column,
    check_size,
    choose_defaults,
    class_weights,
    held_out_parts,
    resolve_task,
    resolve_training_config,
    training_bytes,
)
from service.http.errors import Fault, InvalidRequestError
from service.http.parsing import json_type, parse_matrix, parse_vector, refuse
from service.jobs.candidates import expand
from service.jobs.payloads import InlineData, TrainingRequest, TrainingSettings, ValidationSettings
from service.settings import Limits
from storage.blobs import BlobStore
from storage.codec import encode_dataset
from storage.jobs.spec import MAX_NAMES_IN_RECORD, DataReference, Sweep, TrainingSpec, VersionReference
from storage.models.store import ModelStore

PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
FOLDS_OF_AUTO = 5
"""What `"l2": "auto"` tries, and how it judges."""


def accept(request: TrainingRequest, blobs: BlobStore, models: ModelStore, limits: Limits) -> TrainingSpec:
    """Check a request in full, store its instances, and return what to train.

    Raises:
        InvalidRequestError, PerceptronError: the request cannot be carried out.
        ModelNotFoundError, VersionNotFoundError: the version to start from does not exist.
    """
    training = request.training
    if training.max_epochs > limits.max_epochs:
        detail = f"must be at most {limits.max_epochs} (MAX_EPOCHS), not {training.max_epochs}"
        refuse("/training/max_epochs", detail)
    _check_size(request, limits)
    task, targets = _resolved(request)
    features = parse_matrix(request.data.features, "/data/features")
    if len(features) != len(targets):
        refuse("/data/targets", f"expected {len(features)} targets, one for each instance, got {len(targets)}")
    dataset = _weighted(Dataset(features, targets), task, request)
    _check_dtype(dataset, request.training)
    network = NetworkConfig(
        activation=task.activation,
        hidden_layers=tuple(request.network.hidden_layers),
        hidden_activation=request.network.hidden_activation,
    )
    shape = Architecture.of(network, n_inputs=dataset.n_features, n_outputs=dataset.n_outputs)
    named = Named(
        optimizer=training.optimizer,
        learning_rate=training.learning_rate,
        batch_size=training.batch_size,
        loss=training.loss,
        l2=None if training.l2 == "auto" else training.l2,
        scale_targets=training.scale_targets,
        validation=_validation(request, dataset),
        sweeps_learning_rate=request.sweep is not None and request.sweep.learning_rate is not None,
    )
    defaults = choose_defaults(task, shape, dataset, named)
    task, validation = replace(task, loss=defaults.loss), defaults.validation
    if validation is not None:
        _check_weights_of_parts(dataset, held_out_parts(dataset, task, validation, training.seed))
    config = resolve_training_config(
        network,
        **defaults.training,
        loss=task.loss,
        max_epochs=training.max_epochs,
        tolerance=training.tolerance,
        initialization=training.initialization,
        standardize=training.standardize,
        seed=training.seed,
        dtype=training.dtype,
    )
    sweep = _sweep(request, config, limits)
    n_networks = (len(sweep.candidates) if sweep else 1) * ((validation.folds if validation else None) or 1)
    _check_n_parameters(shape, n_networks, limits)
    check_size(config, shape)
    n_folds = (validation.folds if validation else None) or 0
    _check_memory(config, shape, dataset, n_networks=n_networks, n_folds=n_folds, limits=limits)
    feature_names = _feature_names(request.data, dataset.n_features)
    start_from = _start_from(request, task, feature_names, shape, models)
    in_blob = feature_names if len(feature_names) > MAX_NAMES_IN_RECORD else ()
    blob = blobs.put(encode_dataset(dataset, in_blob))  # last: a refused request leaves nothing behind
    return TrainingSpec(
        task=task,
        network=network,
        training=config,
        validation=validation,
        feature_names=feature_names,
        data=DataReference(blob, dataset.n_instances, dataset.n_features),
        time_limit_s=training.time_limit_s,
        alias=request.alias,
        sweep=sweep,
        start_from=start_from,
        reasons=_reasons(request, defaults),
    )


def _reasons(request: TrainingRequest, defaults: Defaults) -> Mapping[str, str]:
    """Return why values were chosen, with what only the request decides."""
    if request.sweep is not None and request.sweep.l2 is not None:
        return {path: reason for path, reason in defaults.reasons.items() if path != "training/l2"}
    if request.training.l2 != "auto":
        return defaults.reasons
    by = "the folds" if request.validation is None else "the rows held out"
    reason = f"auto: the best of {len(PENALTIES)} penalties from 0.0001 to 1, judged by {by}, then trained on all rows."
    return {**defaults.reasons, "training/l2": reason}


def _check_size(request: TrainingRequest, limits: Limits) -> None:
    """Check the size of every array before the first one is made."""
    data = request.data
    counts = {
        "features": _n_in_lists(data.features),
        "targets": _n_target_values(as_column(data.targets), request),
        "instance_weights": len(data.instance_weights or ()),
    }
    for name, n_values in counts.items():
        if n_values > limits.max_inline_values:
            each = " (one for each instance and class)" if name == "targets" and n_values > len(data.targets) else ""
            detail = f"must hold at most {limits.max_inline_values} values (MAX_INLINE_VALUES), not {n_values}{each}"
            refuse(f"/data/{name}", detail)


def _n_in_lists(rows: Sequence[Any]) -> int:
    return sum(len(row) for row in rows if isinstance(row, list))


def _n_target_values(targets: Sequence[Any], request: TrainingRequest) -> int:
    if targets and isinstance(targets[0], list):
        return _n_in_lists(targets)
    is_of_classes = request.task == "classification" or request.network.activation == "softmax"
    if not is_of_classes and not (targets and isinstance(targets[0], str)):
        return len(targets)
    n_classes = len({target for target in targets if isinstance(target, (str, int, float))})
    return len(targets) * (n_classes if n_classes > 2 else 1)


def _check_n_parameters(shape: Architecture, n_networks: int, limits: Limits) -> None:
    n_parameters = shape.n_parameters * n_networks
    if n_parameters > limits.max_parameters:
        what = "the network" if n_networks == 1 else f"the {n_networks} networks (candidates times folds)"
        detail = f"{what} must have at most {limits.max_parameters} parameters (MAX_PARAMETERS), not {n_parameters}"
        refuse("/network/hidden_layers" if n_networks == 1 else "/sweep", detail)


def _check_memory(
    config: TrainingConfig, shape: Architecture, dataset: Dataset, *, n_networks: int, n_folds: int, limits: Limits
) -> None:
    has_mini_batches = config.mini_batch_size(dataset.n_instances) is not None
    are_together = OPTIMIZERS[config.optimizer].races and not has_mini_batches
    needed = training_bytes(
        shape,
        config.optimizer,
        n_instances=dataset.n_instances,
        n_networks=n_networks if are_together else 1,
        n_folds=n_folds,
        itemsize=np.dtype(config.dtype).itemsize,
        n_threads=os.cpu_count() or 1,  # the default of TRAINING_THREADS
    )
    if needed > limits.max_training_bytes:
        refuse(
            "/sweep" if n_networks > 1 else "/network" if shape.n_parameters > dataset.features.size else "/data",
            f"would take about {needed / 1e6:,.0f} MB to train, of at most {limits.max_training_bytes / 1e6:,.0f} MB "
            "(MAX_TRAINING_BYTES)",
        )


def _sweep(request: TrainingRequest, config: TrainingConfig, limits: Limits) -> Sweep | None:
    if request.training.l2 == "auto":
        if request.sweep is not None:
            refuse("/training/l2", 'l2 "auto" tries penalties by itself: leave out sweep, or sweep over l2')
        if not OPTIMIZERS[config.optimizer].follows_gradient:
            refuse("/training/l2", f"{config.optimizer} minimises no cost to add a penalty to")
        return Sweep(tuple(Candidate(config.learning_rate, l2, config.seed) for l2 in PENALTIES), refit=True)
    if request.sweep is None:
        return None
    if request.start_from is not None:
        refuse("/start_from", "start_from cannot be combined with sweep")
    return Sweep(expand(request.sweep, config, limits.max_candidates), request.sweep.refit)


def _start_from(
    request: TrainingRequest, task: Task, feature_names: Sequence[str], shape: Architecture, models: ModelStore
) -> VersionReference | None:
    """Return the version to start from, after checking that its features, classes and layers are those of this job.

    The features may be in another order: the worker takes their weights by name.
    """
    if request.start_from is None:
        return None
    if request.training.l2 == "auto":
        refuse("/start_from", 'start_from cannot be combined with l2 "auto"')
    if request.validation is not None and request.validation.folds is not None:
        refuse("/start_from", "start_from cannot be combined with folds")
    number = models.resolve(request.start_from.model, version=request.start_from.version)
    start = models.load(request.start_from.model, number)
    version = f"version {number} of model {start.name!r}"
    for ours, theirs in ((feature_names, start.feature_names), (start.feature_names, feature_names)):
        known = set(theirs)
        if (name := next((name for name in ours if name not in known), None)) is not None:
            without, within = (version, "this job") if ours is feature_names else ("this job", version)
            refuse("/start_from", f"features are mapped by name, and {without} has no {name!r}, which {within} has")
    if start.task.classes != task.classes:
        shown, here = _shown(start.task), _shown(task)
        refuse("/start_from", f"{version} has {shown}, and this job has {here}")
    there = Architecture.of_network(start.network)
    if there != shape:
        detail = (
            f"{version} has layers of {there.widths} with {there.activations}, and this job asks for {shape.widths} "
            f"with {shape.activations}"
        )
        refuse("/start_from", detail)
    return VersionReference(request.start_from.model, number)


def _shown(task: Task) -> str:
    if task.classes is None:
        return "no classes"
    return f"the classes {', '.join(repr(each) for each in task.classes[:5])}{', ...' * (len(task.classes) > 5)}"


def _check_dtype(dataset: Dataset, training: TrainingSettings) -> None:
    """Refuse numbers that would be infinite in float32; standardized features are always small."""
    if training.dtype != "float32":
        return
    largest = float(np.finfo(np.float32).max)
    for name, values in (("targets", dataset.targets), ("features", dataset.features)):
        if not (name == "features" and training.standardize) and float(np.abs(values).max()) > largest:
            index = int(np.argwhere(np.abs(values) > largest)[0][0])
            refuse(f"/data/{name}/{index}", f"float32 holds numbers up to {largest:.4g}: choose float64")


def _resolved(request: TrainingRequest) -> tuple[Task, NDArray[np.float64]]:
    try:
        return resolve_task(
            _checked_targets(as_column(request.data.targets)),
            task=request.task,
            activation=request.network.activation,
            loss=request.training.loss,
        )
    except TargetsOutOfRangeError:
        raise  # it names the target
    except InvalidDatasetError as error:
        raise InvalidRequestError([Fault("/data/targets", str(error))]) from error


def _weighted(dataset: Dataset, task: Task, request: TrainingRequest) -> Dataset:
    """Return the data set with the weights of the instances and of their classes, without instances of weight 0."""
    pointer = "/data/instance_weights"
    try:
        if request.data.instance_weights is not None:
            dataset = replace(dataset, instance_weights=parse_vector(request.data.instance_weights, pointer)).counted()
        if request.training.class_weights is not None:
            pointer = "/training/class_weights"
            of_classes = class_weights(task, dataset, request.training.class_weights)
            dataset = replace(dataset, class_weights=of_classes)
    except InvalidDatasetError as error:
        raise InvalidRequestError([Fault(pointer, str(error))]) from error
    return dataset


def _checked_targets(targets: Sequence[Any]) -> Sequence[float] | Sequence[str] | Sequence[Sequence[float]]:
    """Check that the targets are all numbers, all booleans, all strings, or all lists of numbers of one length."""
    if not targets:
        refuse("/data/targets", "must not be empty")
    if type(targets[0]) is bool and set(map(type, targets)) == {bool}:
        return [int(target) for target in targets]
    if isinstance(targets[0], list):
        parse_matrix(targets, "/data/targets")
    elif isinstance(targets[0], str):
        for i, target in enumerate(targets):
            if not isinstance(target, str):
                refuse(
                    f"/data/targets/{i}",
                    f"must be a class name like the first target, not {json_type(target)}",
                )
    else:
        parse_vector(targets, "/data/targets")
    return targets


def _feature_names(data: InlineData, n_features: int) -> tuple[str, ...]:
    if data.feature_names is None:
        return tuple(f"x{k}" for k in range(n_features))
    names = tuple(data.feature_names)
    if len(names) != n_features:
        refuse("/data/feature_names", f"expected {n_features} names, one for each feature, got {len(names)}")
    seen: set[str] = set()
    for k, name in enumerate(names):
        if name in seen:
            refuse(f"/data/feature_names/{k}", f"the name {name!r} occurs twice")
        seen.add(name)
    return names


def _validation(request: TrainingRequest, dataset: Dataset) -> ValidationConfig | None:
    given = request.validation
    if given is None and request.training.l2 == "auto":
        given = ValidationSettings(folds=FOLDS_OF_AUTO)
        if 2 <= dataset.n_instances < FOLDS_OF_AUTO:
            given = ValidationSettings(folds=dataset.n_instances)
    if given is None:
        return None
    if given.folds is not None and given.fraction is not None:
        refuse("/validation/fraction", "give fraction or folds, not both")
    if dataset.n_instances < (given.folds or 2):
        needed = given.folds or 2
        refuse(
            "/validation",
            f"needs at least {needed} instances with a weight to hold some out, got {dataset.n_instances}",
        )
    fraction = given.fraction if given.fraction is not None else 0.2
    return ValidationConfig(fraction, given.early_stopping_patience, given.folds)


def _check_weights_of_parts(dataset: Dataset, fold_of: NDArray[np.intp]) -> None:
    """Refuse a split that leaves nothing to train on or nothing to judge by, since classes of weight 0 fill a part."""
    weights = dataset.cost_weights
    if weights is None or weights.all():
        return
    for part in range(int(fold_of.max()) + 1):
        for rows, purpose in ((fold_of == part, "judge by"), (fold_of != part, "train on")):
            if not weights[rows].any():
                refuse(
                    "/validation", f"leaves only classes of weight 0 to {purpose}: choose another seed, or fewer folds"
                )
