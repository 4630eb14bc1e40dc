"""From a request to train to what a worker needs: arrays in the blob store, and a spec with every default chosen."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

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
    TrainingConfig,
    ValidationConfig,
    check_size,
    choose_defaults,
    held_out_parts,
    is_mapped,
    resolve_training_config,
    training_bytes,
    weights_of_classes,
)
from service.http.caller import Caller
from service.http.errors import Fault, InvalidRequestError
from service.http.parsing import refuse
from service.jobs.candidates import expand
from service.jobs.instances.lists import from_lists
from service.jobs.instances.lists_as_records import as_records, is_of_columns
from service.jobs.instances.tables import from_dataset, from_records
from service.jobs.instances.training_data import TrainingData
from service.jobs.payloads import TrainingRequest, TrainingSettings, ValidationSettings
from service.jobs.start_from import version_to_start_from
from service.settings import Limits
from storage.blobs import BlobStore
from storage.datasets.store import DatasetStore
from storage.jobs.spec import DataReference, Sweep, TrainingSpec
from storage.models.store import ModelStore

_ROWS_AT_ONCE = 100_000
"""Of a table that is kept in a file, the memory of more rows is not needed at the same time."""

PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
FOLDS_OF_AUTO = 5
"""What `"l2": "auto"` tries, and how it judges."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A request that has been checked in full; nothing is stored yet."""

    data: TrainingData
    dataset: Dataset
    """With the weights of its classes."""
    spec: TrainingSpec
    """Without a reference to the data."""
    shape: Architecture
    n_networks: int
    """Trained by the job: candidates times folds."""
    memory_bytes: int
    """What the training takes at most, by estimate."""

    def stored(self) -> TrainingSpec:
        """Store the instances, and return what to train."""
        return replace(self.spec, data=self.data.put(self.dataset))


def prepare(
    request: TrainingRequest,
    caller: Caller,
    blobs: BlobStore,
    models: ModelStore,
    datasets: DatasetStore,
    limits: Limits,
) -> Prepared:
    """Check a request in full.

    Raises:
        InvalidRequestError, PerceptronError: the request cannot be carried out.
        ModelNotFoundError, VersionNotFoundError: the version to start from does not exist.
        DatasetNotFoundError: the data set does not exist.
    """
    training = request.training
    if training.max_epochs > limits.max_epochs:
        detail = f"must be at most {limits.max_epochs} (MAX_EPOCHS), not {training.max_epochs}"
        refuse("/training/max_epochs", detail)
    data = _training_data(request, caller, blobs, datasets, limits)
    task, dataset, table = data.task, data.dataset, data.table
    if training.class_weights is not None:
        of_classes = weights_of_classes(task, dataset, training.class_weights)
        dataset = _with_class_weights(dataset, of_classes[task.class_indices(dataset.targets)])
        table = None if table is None else replace(table, class_weights=tuple(of_classes.tolist()))
    _check_dtype(dataset, training, is_table=table is not None)
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
        validation=_validation(request, data.n_instances),
        sweeps_learning_rate=request.sweep is not None and request.sweep.learning_rate is not None,
    )
    defaults = choose_defaults(task, shape, dataset, named)
    task, validation = replace(task, loss=defaults.loss), defaults.validation
    has_all_rows = dataset.n_instances == data.n_instances  # else a part would be one of targets
    if validation is not None and has_all_rows and dataset.cost_weights is not None and not dataset.cost_weights.all():
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
    n_folds = (validation.folds if validation else None) or 0
    n_networks = (len(sweep.candidates) if sweep else 1) * (n_folds or 1)
    _check_n_parameters(shape, n_networks, limits)
    check_size(config, shape)
    memory_bytes = _memory_bytes(data, config, shape, sweep, n_folds)
    _check_memory(memory_bytes, shape, data, n_networks, limits)
    start_from = version_to_start_from(request, caller, task, data.feature_names, shape, models)
    spec = TrainingSpec(
        task=task,
        network=network,
        training=config,
        validation=validation,
        feature_names=data.feature_names if table is None else (),
        data=DataReference("", data.n_instances, dataset.n_features),
        table=table,
        time_limit_s=training.time_limit_s,
        alias=request.alias,
        sweep=sweep,
        start_from=start_from,
        reasons=_reasons(request, defaults),
        warnings=data.warnings,
    )
    return Prepared(data, dataset, spec, shape, n_networks, memory_bytes)


def _training_data(
    request: TrainingRequest, caller: Caller, blobs: BlobStore, datasets: DatasetStore, limits: Limits
) -> TrainingData:
    data = request.data
    if data is not None and request.dataset is not None:
        refuse("/dataset", "give data or dataset, not both")
    if request.dataset is not None:
        return from_dataset(request, caller.dataset(request.dataset), datasets, blobs, limits)
    if data is None:
        refuse("/data", "Field required")
    if data.records is not None:
        for name in ("features", "targets", "feature_names", "instance_weights"):
            if getattr(data, name) is not None:
                refuse(f"/data/{name}", "give records or lists, not both")
        return from_records(request, data.records, blobs, limits)
    for name in ("target", "features", "exclude", "types", "weights"):
        if getattr(request, name) is not None:
            refuse(f"/{name}", "names columns, which only a data set and records have")
    for name in ("features", "targets"):
        if getattr(data, name) is None:
            refuse(f"/data/{name}", "Field required")
    if is_of_columns(data):
        return from_records(*as_records(request, data), blobs, limits)
    return from_lists(request, data, blobs, limits)


def _with_class_weights(dataset: Dataset, weights: NDArray[np.float64]) -> Dataset:
    try:
        return replace(dataset, class_weights=weights)
    except InvalidDatasetError as error:
        raise InvalidRequestError([Fault("/training/class_weights", str(error))]) from error


def _reasons(request: TrainingRequest, defaults: Defaults) -> Mapping[str, str]:
    """Return why values were chosen, with what only the request decides."""
    if request.sweep is not None and request.sweep.l2 is not None:
        return {path: reason for path, reason in defaults.reasons.items() if path != "training/l2"}
    if request.training.l2 != "auto":
        return defaults.reasons
    by = "the folds" if request.validation is None else "the rows held out"
    reason = f"auto: the best of {len(PENALTIES)} penalties from 0.0001 to 1, judged by {by}, then trained on all rows."
    return {**defaults.reasons, "training/l2": reason}


def _check_n_parameters(shape: Architecture, n_networks: int, limits: Limits) -> None:
    n_parameters = shape.n_parameters * n_networks
    if n_parameters > limits.max_parameters:
        what = "the network" if n_networks == 1 else f"the {n_networks} networks (candidates times folds)"
        detail = f"{what} must have at most {limits.max_parameters} parameters (MAX_PARAMETERS), not {n_parameters}"
        refuse("/network/hidden_layers" if n_networks == 1 else "/sweep", detail)


def _memory_bytes(
    data: TrainingData, config: TrainingConfig, shape: Architecture, sweep: Sweep | None, n_folds: int
) -> int:
    """Estimate what the training takes at most."""
    n_instances = data.n_instances
    is_alone = sweep is None and not n_folds
    is_in_file = is_alone and data.table is not None and is_mapped(n_instances, shape.widths[0])
    n_networks = (len(sweep.candidates) if sweep else 1) * (n_folds or 1)
    is_race = OPTIMIZERS[config.optimizer].races and config.mini_batch_size(n_instances) is None
    return training_bytes(
        shape,
        config.optimizer,
        n_instances=min(_ROWS_AT_ONCE, n_instances) if is_in_file else n_instances,
        n_networks=n_networks if is_race else 1,
        n_folds=n_folds,
        itemsize=np.dtype(config.dtype).itemsize,
        n_threads=os.cpu_count() or 1,  # the default of TRAINING_THREADS
    )


def _check_memory(needed: int, shape: Architecture, data: TrainingData, n_networks: int, limits: Limits) -> None:
    if needed <= limits.max_training_bytes:
        return
    of_data = "/data" if data.table is None else "/dataset"
    is_wide = shape.n_parameters > data.n_instances * shape.widths[0]
    refuse(
        "/sweep" if n_networks > 1 else "/network" if is_wide else of_data,
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


def _check_dtype(dataset: Dataset, training: TrainingSettings, *, is_table: bool) -> None:
    """Refuse numbers that would be infinite in float32; standardized features are always small."""
    if training.dtype != "float32":
        return
    largest = float(np.finfo(np.float32).max)
    for name, values in (("targets", dataset.targets), ("features", dataset.features)):
        if not (name == "features" and training.standardize) and float(np.abs(values).max()) > largest:
            index = int(np.argwhere(np.abs(values) > largest)[0][0])
            pointer = "/target" if is_table else f"/data/{name}/{index}"
            refuse(pointer, f"float32 holds numbers up to {largest:.4g}: choose float64")


def _validation(request: TrainingRequest, n_instances: int) -> ValidationConfig | None:
    given = request.validation
    if given is None and request.training.l2 == "auto":
        given = ValidationSettings(folds=FOLDS_OF_AUTO)
        if 2 <= n_instances < FOLDS_OF_AUTO:
            given = ValidationSettings(folds=n_instances)
    if given is None:
        return None
    if given.folds is not None and given.fraction is not None:
        refuse("/validation/fraction", "give fraction or folds, not both")
    if n_instances < (given.folds or 2):
        needed = given.folds or 2
        refuse(
            "/validation",
            f"needs at least {needed} instances with a weight to hold some out, got {n_instances}",
        )
    fraction = given.fraction if given.fraction is not None else 0.2
    return ValidationConfig(fraction, given.early_stopping_patience, given.folds)


def _check_weights_of_parts(dataset: Dataset, fold_of: NDArray[np.intp]) -> None:
    """Refuse a split that leaves nothing to train on or nothing to judge by, since classes of weight 0 fill a part."""
    weights = dataset.cost_weights
    assert weights is not None, "called only where some are 0"
    for part in range(int(fold_of.max()) + 1):
        for rows, purpose in ((fold_of == part, "judge by"), (fold_of != part, "train on")):
            if not weights[rows].any():
                refuse(
                    "/validation", f"leaves only classes of weight 0 to {purpose}: choose another seed, or fewer folds"
                )
