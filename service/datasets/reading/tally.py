"""What was met in a column, counted."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.datasets.reading.classes import Look, Looks
from service.datasets.reading.sources.source import Array


@dataclass
class Tally:
    """Counts of the values of a column that are not missing, by their looks. The blocks may have any size."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(Look), np.int64))
    first: dict[Look, tuple[int, str]] = field(default_factory=dict)
    """The first row, and its text, of each look."""
    spellings: dict[str, None] = field(default_factory=dict)
    """The texts that look like missing values."""
    has_point_or_sign: bool = False
    was_trimmed: bool = False

    def add(self, looks: Looks, counts: NDArray[np.int64]) -> None:
        """Count the looks of some texts, each of which is there several times."""
        self.counts += np.bincount(looks, counts, minlength=len(Look)).astype(np.int64)

    def note_first(self, look: Look, row: int, text: str) -> None:
        """Note where a look was met, unless it was met in a row before."""
        if look not in self.first or row < self.first[look][0]:
            self.first[look] = (row, text)

    def note_spellings(self, texts: Array) -> None:
        """Note texts for missing values."""
        self.spellings.update(dict.fromkeys(texts.unique().to_pylist()))

    def number_of(self, *looks: Look) -> int:
        """How many values have one of these looks."""
        return int(self.counts[list(looks)].sum())

    def first_of(self, *looks: Look) -> tuple[int, str]:
        """The first row, and its text, with one of these looks."""
        return min(self.first[look] for look in looks if look in self.first)

    @property
    def n_values(self) -> int:
        """How many values are neither missing nor spelled as if they were."""
        return int(self.counts.sum()) - self.number_of(Look.NULL_SPELLING)
