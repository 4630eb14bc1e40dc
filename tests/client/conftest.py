"""The client against the whole service, with real processes: the fixtures of the end-to-end tests, and models."""

from collections.abc import Iterator

import numpy as np
import pytest

from perceptron_client import Client
from tests.stack import Stack

ONE_STEP = {"optimizer": "gradient_descent", "learning_rate": 0.01, "max_epochs": 1, "standardize": False}
"""One step of gradient descent from zeros."""

LINE = (np.array([[1.0, 0.0], [3.0, 1.0]]), np.array([2.0, 4.0]))
"""Two instances. y_hat = 0, so dC/dw = 2/n X'(y_hat - y) = [-14, -4] and dC/db = -6: w = [0.14, 0.04], b = 0.06."""

TREES = [
    {"height": height, "kind": kind, "fruit": fruit}
    for height, kind, fruit in [(1.0, "fir", 1.0), (2.0, "oak", 3.0), (3.0, "oak", 4.0), (4.0, "fir", 4.0)] * 3
]


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.url, retry_for_s=20) as client:
        yield client


@pytest.fixture(scope="session")
def line(stack: Stack) -> str:
    """A model whose weights are known, and its alias `production`."""
    with Client(stack.url) as client:
        data = {"features": LINE[0], "targets": LINE[1], "feature_names": ["a", "b"]}
        job = client.jobs.create(model="line", data=data, training=ONE_STEP, alias="production")
        client.jobs.wait(job)
    return "line"


@pytest.fixture(scope="session")
def trees(stack: Stack) -> str:
    """A model of a table with a category."""
    with Client(stack.url) as client:
        client.jobs.wait(client.jobs.create(model="trees", data=TREES, target="fruit"))
    return "trees"
