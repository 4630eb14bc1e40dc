"""The instances of a job, as they are stored: arrays, or columns of a table."""

from dataclasses import dataclass, replace

import numpy as np

from perceptron import Dataset, TableEncoder, encode_classes, encode_column
from storage.blobs import BlobStore
from storage.codec import decode_dataset
from storage.datasets.table import Table
from storage.errors import CorruptDataError
from storage.jobs.attempt import Attempt
from storage.jobs.spec import TableReference, TrainingSpec


@dataclass(frozen=True, eq=False)
class Instances:
    """What a job trains on."""

    spec: TrainingSpec
    """With the names of all features."""
    dataset: Dataset
    encoder: TableEncoder | None
    """Of a table: what makes the features of its columns."""


def load_instances(attempt: Attempt, blobs: BlobStore) -> Instances:
    """Load the instances of a job.

    Raises:
        BlobNotFoundError, BlobStoreUnavailableError: they cannot be read now.
        CorruptDataError: what is stored is something else.
    """
    spec = attempt.job.spec
    if spec.table is None:
        dataset, names = decode_dataset(blobs.get(spec.data.blob))
        return Instances(replace(spec, feature_names=names or spec.feature_names), dataset, None)
    if not spec.table.features:
        spec = attempt.full_spec()
    assert spec.table is not None, "the full spec differs in the names only"
    with Table.of(blobs, spec.data.blob) as table:
        dataset, encoder = _of_table(table, spec.table, spec)
    return Instances(replace(spec, feature_names=encoder.feature_names), dataset, encoder)


def _of_table(table: Table, wanted: TableReference, spec: TrainingSpec) -> tuple[Dataset, TableEncoder]:
    """Read the columns of a table, without rows of weight 0, and learn how they become features."""
    weights = None
    rows = np.arange(table.n_rows)
    if wanted.weights is not None:
        weights = table.matrix(table.columns([wanted.weights]))[:, 0]
        rows = np.flatnonzero(weights)
        weights = weights[rows]
    columns = table.columns([*wanted.features, wanted.target], frozenset(wanted.categorical))
    codes = table.matrix(columns)[rows]
    (target,), targets = columns[-1:], codes[:, -1:]
    encoder, codes = TableEncoder.learn(columns[:-1], codes[:, :-1], weights)
    if target.kind == "categorical":
        _, of_levels = TableEncoder.learn([target], targets)
        encoded = encode_classes(spec.task, of_levels[:, 0].astype(np.intp))
    else:
        encoded = encode_column(spec.task, targets[:, 0])
    if encoded.shape[1] != spec.task.n_outputs or not np.isfinite(encoded).all():
        raise CorruptDataError("the table has other targets than those that the job was accepted with")
    dataset = Dataset(encoder.encode(codes), encoded, weights)
    if wanted.class_weights is not None:
        of_classes = np.array(wanted.class_weights)[spec.task.class_indices(encoded)]
        dataset = replace(dataset, class_weights=of_classes)
    return dataset, encoder
