"""Default jobs on real data: nothing but the data is named, and what comes out is as good as scikit-learn's."""

import json
from typing import Any

import numpy as np
import pytest

from benchmarks._datasets import DATASETS, load, splits
from benchmarks.defaults import LEFT_OUT, NETWORKS, RESULTS, ours
from tests.stack import Stack

REFERENCE: dict[str, Any] = json.loads(RESULTS.read_text())
"""What `./run bench defaults` measured of scikit-learn, as the mean over the same splits."""


@pytest.mark.filterwarnings("ignore")  # those of the packages that the data comes from
@pytest.mark.parametrize(
    "network", [pytest.param(name, marks=pytest.mark.long if name == "[16]" else ()) for name in NETWORKS]
)
def test_default_jobs_are_as_good_as_the_reference(stack: Stack, network: str) -> None:
    lost: dict[str, dict[str, float]] = {"accuracy": {}, "log_loss": {}, "r2": {}}
    for name in DATASETS:
        if (name, network) in LEFT_OUT:
            continue
        table, reference = load(name), REFERENCE[name][network]["reference"]
        scores = [ours(stack.http, table, NETWORKS[network], train, held_out) for train, held_out in splits(table)]
        assert all(scores), f"a default job on {name} failed"
        for figure in scores[0]:
            loss = reference[figure] - float(np.mean([score[figure] for score in scores]))
            lost[figure][name] = -loss if figure == "log_loss" else loss
    for figure, most_in_the_mean in (("accuracy", 0.01), ("log_loss", 0.03), ("r2", 0.02)):
        assert np.mean(list(lost[figure].values())) <= most_in_the_mean, lost[figure]
        assert max(lost[figure].values()) <= 0.05, lost[figure]
