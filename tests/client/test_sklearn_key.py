"""The estimators with the key of a data scientist: of a tenant, for training and predicting, and nothing else."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import cross_val_score

from perceptron_client import Client
from perceptron_client.sklearn import RemoteClassifier, RemoteRegressor
from tests.stack import ROOT, Stack

# MSE of x = 1, -1 with y = 3, 1: from zeros dC/dw = -2 and dC/db = -4; from (0.5, 1) they are -1 and -2
LINE = (np.array([[1.0], [-1.0]]), np.array([3.0, 1.0]))


@pytest.fixture
def keyed(own_stack: Callable[..., Stack], monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    stack = own_stack()
    command = [sys.executable, "-m", "cli", "keys", "create", "--scope", "train,predict", "--tenant", "acme"]
    env = {"PATH": "", "DATA_DIR": str(stack.data_dir)}
    text = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.setenv("PERCEPTRON_URL", stack.url)
    monkeypatch.setenv("PERCEPTRON_API_KEY", text)
    with Client() as client:
        yield client


def test_with_a_key_to_train_and_predict_an_estimator_does_all_it_does_and_leaves_nothing_behind(keyed: Client) -> None:
    assert len(cross_val_score(RemoteClassifier(), *load_breast_cancer(return_X_y=True), cv=3)) == 3
    assert list(keyed.models.list()) == []
    regressor = RemoteRegressor(learning_rate=0.25).partial_fit(*LINE)
    regressor.partial_fit(*LINE)
    np.testing.assert_allclose([regressor.coef_[0], regressor.intercept_], [0.75, 1.5])
    assert [each.version for each in keyed.models.get(regressor.model_).versions] == [regressor.version_] == [2]
    keyed.models.set_alias(regressor.model_, "production", 2)
    regressor.partial_fit(*LINE)  # from (0.75, 1.5): dC/dw = -0.5, dC/db = -1
    np.testing.assert_allclose([regressor.coef_[0], regressor.intercept_], [0.875, 1.75])
    np.testing.assert_allclose(regressor.predict([[2.0]]), [3.5])
    assert [each.version for each in keyed.models.get(regressor.model_).versions] == [2, 3], "an alias names 2"
