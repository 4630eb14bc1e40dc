"""Weights of classes: one for each instance."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from perceptron.data.dataset import Dataset
from perceptron.data.task import Task
from perceptron.errors import InvalidConfigError

ClassWeights: TypeAlias = Literal["balanced"] | Mapping[str, float] | Mapping[int, float]


def class_weights(task: Task, dataset: Dataset, weights: ClassWeights) -> NDArray[np.float64]:
    """Give each instance the weight of its class, (n_instances,), for `Dataset.class_weights`.

    Raises:
        InvalidConfigError: as `weights_of_classes`.
    """
    of_instances: NDArray[np.float64] = weights_of_classes(task, dataset, weights)[task.class_indices(dataset.targets)]
    return of_instances


def weights_of_classes(task: Task, dataset: Dataset, weights: ClassWeights) -> NDArray[np.float64]:
    """Give the weight of each class of a task, (n_classes,).

    "balanced" gives every class the same total weight: n_instances / (n_classes * count of the class), over the
    classes that occur, as in scikit-learn; an instance counts as often as its weight
    says. A mapping names classes (numbers also as strings, like keys of JSON); a
    class that it does not name has weight 1.

    Raises:
        InvalidConfigError: the task has no classes, or a class or weight of the mapping is not a valid one.
    """
    if task.classes is None:
        raise InvalidConfigError(f"class_weights need classes, got {task.kind}", field="training/class_weights")
    indices = task.class_indices(dataset.targets)
    if weights == "balanced":
        counts = np.bincount(indices, dataset.instance_weights, minlength=len(task.classes))
        occurs = counts > 0
        per_class: NDArray[np.float64] = np.divide(
            counts.sum() / occurs.sum(), counts, out=np.zeros_like(counts, float), where=occurs
        )
    elif isinstance(weights, Mapping):
        per_class = _named(task.classes, weights)
    else:
        raise InvalidConfigError(
            f'expected "balanced" or a weight for each class, got {weights!r}', field="training/class_weights"
        )
    return per_class


def _named(
    classes: tuple[str, ...] | tuple[int, ...], weights: Mapping[str, float] | Mapping[int, float]
) -> NDArray[np.float64]:
    index_of = {str(name): index for index, name in enumerate(classes)}
    per_class = np.ones(len(classes))
    for name, weight in weights.items():
        escaped = str(name).replace("~", "~0").replace("/", "~1")  # as in a JSON pointer, since fields are paths
        field = f"training/class_weights/{escaped}"
        if str(name) not in index_of:
            raise InvalidConfigError(f"expected one of the classes, got {name!r}", field=field)
        if not 0 <= weight < float("inf"):
            raise InvalidConfigError(f"a weight must be at least 0 and finite, got {weight!r}", field=field)
        per_class[index_of[str(name)]] = weight
    return per_class
