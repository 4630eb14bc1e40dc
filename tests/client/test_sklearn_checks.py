"""scikit-learn's own checks of an estimator, against the running service."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from perceptron_client.sklearn import RemoteClassifier, RemoteRegressor
from tests.end_to_end.conftest import Stack

ESTIMATORS = [RemoteClassifier(), RemoteRegressor()]


@pytest.fixture(autouse=True)
def address(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERCEPTRON_URL", stack.url)


@parametrize_with_checks(ESTIMATORS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learns_check_passes(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
