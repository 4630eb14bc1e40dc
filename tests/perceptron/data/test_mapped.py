"""Data sets in a memory map: the same bytes as from memory, in less of it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from perceptron import Dataset, NetworkConfig, TrainingConfig, fit, flatten

ROWS, COLUMNS = 3000, 40
CONFIG = TrainingConfig(max_epochs=3, tolerance=0.0, dtype="float32")


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)


def trained(features, config=CONFIG, n_threads=1):
    targets = (np.arange(len(features)) % 3 == 0)[:, np.newaxis].astype(np.float32)
    *_, last = fit(Dataset(features, targets), NetworkConfig("sigmoid"), config, n_threads=n_threads)
    return flatten(last.network)


@pytest.fixture
def small_windows(monkeypatch):
    """Give back after every block, which 480 kB would otherwise never come to."""
    monkeypatch.setattr("perceptron.objective.WINDOW_BYTES", 10_000)
    monkeypatch.setattr("perceptron.objective.BLOCK_BYTES", 20_000)
    # else the loop for one neuron on little data would copy them
    monkeypatch.setattr("perceptron.optimizers.single_neuron.BLOCK_BYTES", 0)


VIEWS = {
    "whole": lambda array: array,
    "from a row on": lambda array: array[777:],
    "every other row": lambda array: array[::2],
    "backwards": lambda array: array[::-1],
    "some columns": lambda array: array[:, 3:31],
    "one column": lambda array: array[:, 5:6],
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.usefixtures("small_windows")
def test_a_map_trains_to_the_bytes_that_memory_does(features, tmp_path, view, n_threads):
    np.save(tmp_path / "x.npy", features)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for optimizer in ("gradient_descent", "lbfgs", "newton"):
        config = TrainingConfig(optimizer=optimizer, max_epochs=3, tolerance=0.0, dtype="float32")
        of_map = trained(VIEWS[view](mapped), config, n_threads)
        np.testing.assert_array_equal(of_map, trained(VIEWS[view](features), config, n_threads))


@pytest.mark.usefixtures("small_windows")
def test_a_map_in_column_order_and_a_raw_one_at_an_odd_offset_are_read_right(features, tmp_path):
    np.save(tmp_path / "columns.npy", np.asfortranarray(features))
    by_columns = np.load(tmp_path / "columns.npy", mmap_mode="r")
    assert by_columns.flags.f_contiguous
    np.testing.assert_array_equal(trained(by_columns), trained(np.asfortranarray(features)))

    (tmp_path / "raw").write_bytes(b"x" * 5004 + features.tobytes())
    raw = np.memmap(tmp_path / "raw", np.float32, "r", offset=5004, shape=features.shape)
    np.testing.assert_array_equal(trained(raw), trained(features))


@pytest.mark.parametrize("mode", ["c", "r+"])
@pytest.mark.usefixtures("small_windows")
def test_what_was_written_to_a_map_is_not_lost(features, tmp_path, mode):
    np.save(tmp_path / "x.npy", features)
    mapped = np.load(tmp_path / "x.npy", mmap_mode=mode)
    mapped *= 2
    np.testing.assert_array_equal(trained(mapped), trained(2 * features))
    np.testing.assert_array_equal(mapped, 2 * features)


CHILD = """
import sys
from pathlib import Path
import numpy as np
from perceptron import Dataset, NetworkConfig, TrainingConfig, fit

def peak_mb():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1000

features = np.load(sys.argv[1], mmap_mode="r")
targets = np.load(sys.argv[2])
config = TrainingConfig(max_epochs=3, tolerance=0.0, dtype="float32")
before = peak_mb()
for result in fit(Dataset(features, targets), NetworkConfig("sigmoid"), config):
    pass
print(peak_mb() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc to see resident memory")
def test_a_file_of_160_mb_takes_less_than_half_of_that(tmp_path):
    rng = np.random.default_rng(0)
    features = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (400_000, 100))
    features[...] = rng.standard_normal(100, dtype=np.float32)
    np.save(tmp_path / "y.npy", (np.arange(400_000) % 2 == 0)[:, np.newaxis].astype(np.float32))
    features.flush()
    command = [sys.executable, "-c", CHILD, str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    root = Path(__file__).parents[3]
    child = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert child.returncode == 0, child.stderr
    # the window of 32 MB, a block on its way, targets
    assert float(child.stdout) < 70
