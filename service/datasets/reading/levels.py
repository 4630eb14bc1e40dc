"""The different texts of a column, counted until there are too many."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from service.datasets.reading.classes import Look, Looks
from service.datasets.reading.sources.source import Array
from service.datasets.reading.tally import Tally
from service.http.errors import TableError

LONG_TEXT_BYTES = 1_000
"""A longer text is no category: its column is kept as text."""

MAX_LEVEL_BYTES = 64 * 2**20
"""of all columns together"""


@dataclass
class LevelMemory:
    """How many bytes the levels of all columns take. Several threads may add."""

    n_bytes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def add(self, n_bytes: int) -> None:
        """Count bytes.

        Raises:
            TableError: they are too many.
        """
        with self._lock:
            self.n_bytes += n_bytes
        if self.n_bytes > MAX_LEVEL_BYTES:
            detail = (
                f"the categories of all columns together may take {MAX_LEVEL_BYTES} bytes; leave columns of text out"
            )
            raise TableError("too_large", detail, more={"limit": MAX_LEVEL_BYTES})


class LevelTable:
    """Gives each text a code in the order of appearance, until there are too many texts for a category."""

    def __init__(self, max_levels: int, memory: LevelMemory) -> None:
        self.texts: Array = pa.array([], pa.string())
        self.counts = np.zeros(0, np.int64)
        self.is_complete = True
        """whether every text has a code"""
        self.has_long_text = False
        self.n_text_bytes = 0
        """of all rows together"""
        self._looks: Looks = np.zeros(0, np.uint8)
        self._first_rows = np.zeros(0, np.int64)
        self.max_levels = max_levels
        self._memory = memory
        self._rest = Tally()
        self._hashes: set[int] = set()
        """of the different texts of a column with long ones, which are not kept"""

    @property
    def distinct(self) -> tuple[int, bool]:
        """How many different texts there are, and whether that is exact: counting stops at a limit."""
        if self.is_complete:
            return self.n_levels, True
        if self.has_long_text and len(self._hashes) <= self.max_levels:
            return len(self._hashes), True
        return self.max_levels, False

    @property
    def n_levels(self) -> int:
        """How many different texts have a code."""
        return len(self.counts)

    def add(self, texts: Array, indices: Array, first_row: int, look: Callable[[Array], Looks]) -> Array:
        """Read the next rows.

        Args:
            texts: the different texts of these rows; two may be the same, or null.
            indices: (n_rows,), into them; null: missing.
            first_row: the number of the first of these rows.
            look: says what texts look like that were not met before.

        Returns:
            The codes of the levels (int32), or the texts themselves if there are too many.
        """
        # What the dictionary of another program holds beyond these rows counts for nothing.
        counts = np.bincount(indices.drop_null().to_numpy(), minlength=len(texts))
        is_used = (counts > 0) & ~texts.is_null().to_numpy(zero_copy_only=False)
        lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
        self.n_text_bytes += int(counts @ lengths)
        if self.is_complete:
            met = pc.index_in(texts, value_set=self.texts)
            is_new = pa.array(is_used & met.is_null().to_numpy(zero_copy_only=False))
            new = texts.filter(is_new).unique()
            self.has_long_text |= bool(lengths[is_used].max(initial=0) > LONG_TEXT_BYTES)
            if self.has_long_text or self.n_levels + len(new) > self.max_levels:
                self.is_complete = False
                self._hashes.update(map(hash, self.texts.to_pylist() if self.has_long_text else ()))
            elif len(new):
                self._append(new, look(new))
                met = pc.index_in(texts, value_set=self.texts)
        if not self.is_complete:
            self._count_rest(texts, indices, is_used, counts, first_row, look)
            return texts.take(indices)
        of_texts = pc.fill_null(met, -1).to_numpy(zero_copy_only=False)
        np.add.at(self.counts, of_texts[is_used], counts[is_used])
        unseen = np.flatnonzero(self._first_rows < 0)
        if len(unseen):
            read = np.append(of_texts, -1)[codes_of(indices)]
            rows = np.flatnonzero(read >= 0)[::-1]
            first = np.full(self.n_levels, -1)
            first[read[rows]] = rows  # the first row wins: it is written last
            self._first_rows[unseen] = first_row + first[unseen]
        return met.take(indices)

    def _append(self, new: Array, looks: Looks) -> None:
        self._memory.add(new.nbytes)
        self.texts = pa.concat_arrays([self.texts, new])
        self.counts = np.append(self.counts, np.zeros(len(new), np.int64))
        self._looks = np.append(self._looks, looks)
        self._first_rows = np.append(self._first_rows, np.full(len(new), -1))

    def _count_rest(
        self,
        texts: Array,
        indices: Array,
        is_used: NDArray[np.bool_],
        counts: NDArray[np.int64],
        first_row: int,
        look: Callable[[Array], Looks],
    ) -> None:
        used = np.flatnonzero(is_used)
        kept = texts.take(pa.array(used))
        if self.has_long_text and len(self._hashes) <= self.max_levels:
            self._hashes.update(map(hash, kept.to_pylist()))
        looks = look(kept)
        self._rest.add(looks, counts[used])
        if (is_spelling := looks == Look.NULL_SPELLING).any():
            self._rest.note_spellings(kept.filter(pa.array(is_spelling)))
        for one in np.unique(looks):
            if Look(one) not in self._rest.first:
                codes = codes_of(indices)
                row = int(np.isin(codes, used[looks == one]).argmax())
                self._rest.note_first(Look(one), first_row + row, texts[int(codes[row])].as_py())

    def first_other(self, is_expected: Callable[[str], bool]) -> tuple[int, str] | None:
        """Give the first row, and its text, that is not as expected."""
        others = [(int(row), text) for row, text in zip(self._first_rows, self.texts.to_pylist(), strict=True)]
        return min((other for other in others if not is_expected(other[1])), default=None)

    def count(self, tally: Tally) -> None:
        """Add the looks of all texts to a tally."""
        tally.add(self._looks, self.counts)
        tally.counts += self._rest.counts
        for look, (row, text) in self._rest.first.items():
            tally.note_first(look, row, text)
        for one in np.unique(self._looks):
            levels = np.flatnonzero(self._looks == one)
            level = levels[self._first_rows[levels].argmin()]
            tally.note_first(Look(one), int(self._first_rows[level]), self.texts[int(level)].as_py())
        spelled = self.texts.filter(pa.array(self._looks == Look.NULL_SPELLING))
        tally.spellings.update(dict.fromkeys([*spelled.to_pylist(), *self._rest.spellings]))


def codes_of(indices: Array) -> NDArray[np.int64]:
    """Give the indices of a dictionary array, -1 for nulls."""
    codes: NDArray[np.int64] = pc.fill_null(pc.cast(indices, pa.int64()), -1).to_numpy(zero_copy_only=False)
    return codes
