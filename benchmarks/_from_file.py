"""Train on the features in a file and the targets.npy next to it, with limited memory: row T7.

Run it as `python benchmarks/_from_file.py features.npy limit_bytes`. With a limit, the file is mapped, and the process
gets at most that much memory of its own; with 0, the file is read into memory. Prints the median seconds of an epoch
and the resident bytes: its own at the end, and the peak with cached pages of the file.
"""

import json
import resource
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[1]))

from perceptron import Dataset, NetworkConfig, TrainingConfig, fit


def main(path: str, limit_bytes: int) -> None:
    if limit_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    features = np.load(path, mmap_mode="r" if limit_bytes else None)
    targets = np.load(Path(path).with_name("targets.npy"))
    config = TrainingConfig(max_epochs=7, tolerance=0.0, dtype="float32")
    times = []
    with threadpool_limits(1, user_api="blas"):
        results = fit(Dataset(features, targets), NetworkConfig("sigmoid"), config, n_threads=2)
        next(results)
        for _ in range(5):
            start = perf_counter()
            next(results)
            times.append(perf_counter() - start)
    status = Path("/proc/self/status").read_text()
    own, peak = (int(status.split(f"{name}:")[1].split()[0]) * 1024 for name in ("RssAnon", "VmHWM"))
    print(json.dumps({"seconds": median(times), "own_bytes": own, "peak_bytes": peak}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
