"""What a request trains on, whether its instances came with it or are those of a data set."""

from collections.abc import Callable
from dataclasses import dataclass

from perceptron import Dataset, Task
from storage.jobs.reports import TrainingWarning
from storage.jobs.spec import DataReference, TableReference


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Instances that have been checked, but not stored."""

    task: Task
    dataset: Dataset
    """Of a table without its features, which are all 0: the worker reads them. Of a large one only an instance for each
    target, which counts as often as there are instances with it."""
    n_instances: int
    feature_names: tuple[str, ...]
    put: Callable[[Dataset], DataReference]
    """Stores them, given the data set with the weights of its classes."""
    table: TableReference | None = None
    warnings: tuple[TrainingWarning, ...] = ()
