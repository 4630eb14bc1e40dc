"""Default jobs on real data: nothing but the data is named, and what comes out is as good as scikit-learn's."""

import json
from typing import Any

import numpy as np
import pytest

from benchmarks._datasets import DATASETS, load, splits
from benchmarks.defaults import LEFT_OUT, NETWORKS, RESULTS, ours
from tests.end_to_end.conftest import Stack

N_SPLITS = 2
SMALL = {"linnerud", "longley", "spector", "made: 60 x 500"}
"""At most 60 rows: a quarter of them says little, and a fixed penalty stays behind one chosen by cross-validation."""

REFERENCE: dict[str, Any] = json.loads(RESULTS.read_text())
"""What `./run bench defaults` measured of scikit-learn, over five splits of which these are the first two."""


@pytest.mark.parametrize("network", NETWORKS)
def test_default_jobs_are_as_good_as_the_reference(stack: Stack, network: str) -> None:
    lost: dict[str, list[tuple[float, str]]] = {"accuracy": [], "log_loss": [], "r2": []}
    for name in DATASETS:
        if (name, network) in LEFT_OUT:
            continue
        table, reference = load(name), REFERENCE[name][network]["reference"]
        for k, (train, held_out) in enumerate(splits(table, N_SPLITS)):
            score = ours(stack.http, table, NETWORKS[network], train, held_out)
            assert score, f"the default job on {name} failed"
            for figure, value in score.items():
                sign = -1 if figure == "log_loss" else 1
                lost[figure].append((sign * (reference["splits"][k][figure] - value), name))
    for figure, most_in_the_mean in (("accuracy", 0.01), ("log_loss", 0.03), ("r2", 0.02)):
        judged = {name: [loss for loss, of in lost[figure] if of == name] for _, name in lost[figure]}
        means = {name: float(np.mean(losses)) for name, losses in judged.items() if name not in SMALL}
        assert np.mean(list(means.values())) <= most_in_the_mean, means
        assert max(means.values()) <= 0.05, means
