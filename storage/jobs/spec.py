"""What a job trains, with every default chosen: all that a worker needs to know."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter

from perceptron import Candidate, NetworkConfig, Task, TrainingConfig, ValidationConfig
from storage.jobs.reports import TrainingWarning

MAX_NAMES_IN_RECORD = 1_000
"""More names of features are not in the record of a job or in the description of a version, which lists read. They are
stored with the instances of the job, and in a field of their own of the version."""


@dataclass(frozen=True)
class DataReference:
    """Where the instances of a job are stored."""

    blob: str
    """sha256 and name, in the blob store, of the encoded `Dataset`, or of the file of a table."""
    n_instances: int
    n_features: int
    """Of a table an upper bound: a level that only rows without a weight have is dropped."""
    dataset: str | None = None
    """The id of the data set that the file belongs to."""


@dataclass(frozen=True)
class TableReference:
    """Which columns of a table a job learns from."""

    features: tuple[str, ...]
    """Empty when read from a record, if there are more than `MAX_NAMES_IN_RECORD`."""
    target: str
    weights: str | None = None
    """The column that says how many times each row counts."""
    categorical: tuple[str, ...] = ()
    """The columns of numbers that are taken for categories."""
    null_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By column, the texts that stood for missing values in the file, beside those that always do."""
    class_weights: tuple[float, ...] | None = None
    """Of each class in order. Inline instances have theirs beside them."""


@dataclass(frozen=True)
class VersionReference:
    """A version of a model."""

    model: str
    version: int


@dataclass(frozen=True)
class Sweep:
    """Many settings to train at once."""

    candidates: tuple[Candidate, ...]
    refit: bool = False
    """Whether the best one is trained once more, on all rows, before it becomes the version."""


@dataclass(frozen=True)
class TrainingSpec:
    """A request to train, checked and complete."""

    task: Task
    network: NetworkConfig
    training: TrainingConfig
    validation: ValidationConfig | None
    feature_names: tuple[str, ...]
    """Empty when read from a record, if there are more than `MAX_NAMES_IN_RECORD`."""
    data: DataReference
    table: TableReference | None = None
    """If the data is a table: then the names of the features follow from it and are not here."""
    time_limit_s: float | None = None
    alias: str | None = None
    """The alias that moves to the new version in the same step that publishes it."""
    sweep: Sweep | None = None
    start_from: VersionReference | None = None
    """The version whose weights the training starts from."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why what the request did not name was chosen: a sentence for each field, by its path."""
    warnings: tuple[TrainingWarning, ...] = ()
    """What was noticed about the data; the result has them, too."""

    def shortened(self) -> "TrainingSpec | None":
        """Return the spec without its names if they are too many for whoever reads the record, else None."""
        is_long = len(self.feature_names) > MAX_NAMES_IN_RECORD
        if self.table is None:
            return replace(self, feature_names=()) if is_long else None
        is_long = len(self.table.features) > MAX_NAMES_IN_RECORD
        return replace(self, table=replace(self.table, features=())) if is_long else None


SPEC = TypeAdapter(TrainingSpec)
"""Reads and writes a spec as JSON; what does not fit raises pydantic's `ValidationError`."""


def encode_spec(spec: TrainingSpec) -> bytes:
    """Write a spec as JSON.

    A tolerance of None is left out, which means the same: code from before it could be None reads no null, and during
    an update it works on the same Redis.
    """
    left_out = {"training": {"tolerance"}} if spec.training.tolerance is None else None
    return SPEC.dump_json(spec, exclude=left_out)
