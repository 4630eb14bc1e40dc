"""scikit-learn's own checks of an estimator, against the running service."""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

from perceptron_client.sklearn import RemoteClassifier, RemoteRegressor
from tests.stack import Stack


def left_out(estimator: BaseEstimator) -> dict[str, str]:
    """Name the checks that fail, and why: none. check_array_api_input skips itself without SCIPY_ARRAY_API=1."""
    return {}


@pytest.fixture(autouse=True)
def address(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERCEPTRON_URL", stack.url)


@parametrize_with_checks([RemoteClassifier(), RemoteRegressor()], expected_failed_checks=left_out)
def test_scikit_learns_check_passes(estimator: BaseEstimator, check: Callable[[Any], None]) -> None:
    check(estimator)
