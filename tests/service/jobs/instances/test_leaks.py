"""Features that give the target away."""

import tracemalloc

import numpy as np

from perceptron import Column
from service.jobs.instances.leaks import leak_warnings


def test_no_column_copies_the_table() -> None:
    table = np.random.default_rng(0).normal(size=(2_000, 101))
    table[:, 7] = table[:, -1]
    columns = [Column(f"c{k}", "numeric") for k in range(101)]
    tracemalloc.start()
    try:
        (warning,) = leak_warnings(columns[:-1], columns[-1], table)
        assert tracemalloc.get_traced_memory()[1] < 1.5 * table.nbytes  # once, without rows whose target is missing
    finally:
        tracemalloc.stop()
    assert "'c7' is equal to the target" in warning.detail
