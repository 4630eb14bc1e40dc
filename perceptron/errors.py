"""The errors of the maths core.

PerceptronError
├── InvalidDatasetError         the features, targets or weights of the instances cannot be used
│   └── TargetsOutOfRangeError  the activation of the outputs can never give a target
├── InvalidConfigError          a field of a config, or two fields together, cannot be used
├── DimensionError              an array has the wrong number of features
├── DivergedError               the cost of a training rose, or is not finite
└── OutputNotFiniteError        forward propagation gave a number that is not finite
"""

import math
from collections.abc import Collection


class PerceptronError(Exception):
    """Any error that this package raises on purpose."""


class InvalidDatasetError(PerceptronError):
    """The data set cannot be used; the message says what was expected and what was found."""


class TargetsOutOfRangeError(InvalidDatasetError):
    """A target that the activation of the outputs can never give."""

    def __init__(self, *, activation: str, low: float, high: float, index: int, value: float, allowed: str) -> None:
        """`allowed` is the range in words, from `low` to `high`; `index` is that of the instance."""
        super().__init__(f"target {index} is {value!r}, but {activation} needs {allowed}")
        self.activation = activation
        self.low = low
        self.high = high
        self.index = index
        self.value = value
        self._allowed = allowed

    def at(self, index: int) -> "TargetsOutOfRangeError":
        """Give the same error for the same value at another instance."""
        return TargetsOutOfRangeError(
            activation=self.activation,
            low=self.low,
            high=self.high,
            index=index,
            value=self.value,
            allowed=self._allowed,
        )


class InvalidConfigError(PerceptronError):
    """A setting of the network or its training cannot be used; `field` is its path, "training/l2"."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class DimensionError(PerceptronError):
    """The array has the wrong number of features for this network."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"expected {expected} features, got {actual}")
        self.expected = expected
        self.actual = actual


class DivergedError(PerceptronError):
    """Training went up instead of down; epoch 0 is the start, before any update.

    Args:
        cost: after the epoch; not finite where only that is known.
        advice: what to change, without what is set already.
    """

    def __init__(self, epoch: int, learning_rate: float, *, cost: float = math.inf, advice: str = "") -> None:
        if epoch == 0:
            message = "the cost is not finite before the first epoch: the features or targets are too large"
        elif math.isfinite(cost):
            message = f"the cost rose to {cost:.4g} by epoch {epoch}, which is worse than predicting a constant"
        else:
            message = f"the cost or the weights are not finite after epoch {epoch}"
        super().__init__(f"{message}: {advice or 'lower learning_rate'}")
        self.epoch = epoch
        self.learning_rate = learning_rate


class OutputNotFiniteError(PerceptronError):
    """The output for an instance is infinite or not a number; `index` is the first such instance's."""

    def __init__(self, index: int) -> None:
        super().__init__(f"expected finite outputs, but that of instance {index} is not: its features are too large")
        self.index = index


def check_one_of(field: str, value: str, allowed: Collection[str]) -> None:
    """Check a name of a config.

    Raises:
        InvalidConfigError: it is none of those allowed.
    """
    if value not in allowed:
        raise InvalidConfigError(f"expected one of {', '.join(allowed)}, got {value!r}", field=field)
