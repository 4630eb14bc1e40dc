"""The estimators against the running service, on real data, and against scikit-learn's own solvers."""

import logging
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from palmerpenguins import load_penguins
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from perceptron_client import Client
from perceptron_client.errors import Invalid, JobNotDone
from perceptron_client.sklearn import RemoteClassifier, RemoteRegressor, hint, tables
from tests.stack import ROOT, Stack

CANCER = load_breast_cancer(return_X_y=True)
WINE = load_wine(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)


@pytest.fixture(autouse=True)
def address(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERCEPTRON_URL", stack.url)


@pytest.fixture(params=["inline", "uploaded"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Send instances in the body of the job, or as a data set."""
    if request.param == "uploaded":
        monkeypatch.setattr(tables, "INLINE_CELLS", 0)
    yield request.param


def own_models(client: Client) -> set[str]:
    return {model.name for model in client.models.list() if model.name.startswith("sklearn-")}


@pytest.mark.parametrize(("X", "y"), [CANCER, WINE], ids=["two classes", "three classes"])
def test_a_classifier_finds_the_optimum_of_logistic_regression(X: Any, y: Any, way: str, client: Client):
    # the chosen penalty is 1 / (2 n) on standardized features: that of LogisticRegression with C = 1
    n_datasets = len(list(client.datasets.list()))
    ours = RemoteClassifier().fit(X, y)
    scaler = StandardScaler().fit(X)
    theirs = LogisticRegression(tol=1e-8, max_iter=10_000).fit(scaler.transform(X), y)
    probabilities = theirs.predict_proba(scaler.transform(X))
    np.testing.assert_allclose(ours.predict_proba(X), probabilities, atol=5e-5)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(scaler.transform(X)))
    assert ours.score(X, y) == theirs.score(scaler.transform(X), y)
    if len(ours.classes_) == 2:
        np.testing.assert_allclose(ours.coef_, theirs.coef_ / scaler.scale_, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(ours.decision_function(X), X @ ours.coef_[0] + ours.intercept_[0], atol=1e-6)
    else:
        z = X @ ours.coef_.T + ours.intercept_
        np.testing.assert_allclose(ours.decision_function(X), z - np.logaddexp.reduce(z, axis=1)[:, None], atol=1e-6)
    assert len(list(client.datasets.list())) == n_datasets


def test_a_regressor_finds_the_optimum_of_ridge(way: str):
    # l2 = 1 / (2 n) beside the mean of the squares is alpha = 1/2 beside their sum
    X, y = DIABETES
    ours, theirs = RemoteRegressor().fit(X, y), make_pipeline(StandardScaler(), Ridge(alpha=0.5)).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y))
    np.testing.assert_allclose(X @ ours.coef_ + ours.intercept_, ours.predict(X), rtol=1e-9)


def test_weights_count_as_repeated_instances_by_both_ways(way: str):
    X, y = CANCER
    weights = np.arange(len(y)) % 3
    weighted = RemoteClassifier().fit(X, y, sample_weight=weights)
    repeated = RemoteClassifier().fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_data_frame_with_categories_and_gaps_is_preprocessed_by_the_service(kind: str, way: str):
    penguins = load_penguins()
    X, y = penguins.drop(columns=["species", "year"]), penguins["species"]
    assert X["sex"].isna().sum() == 11 and X["body_mass_g"].isna().sum() == 2
    given = X if kind == "pandas" else pl.from_pandas(X)
    ours = RemoteClassifier().fit(given, y)
    numbers = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    encoder = ColumnTransformer([("n", SimpleImputer(), numbers), ("c", OneHotEncoder(), ["island", "sex"])])
    theirs = make_pipeline(encoder, StandardScaler(), LogisticRegression()).fit(X, y)
    assert ours.score(given, y) >= theirs.score(X, y) > 0.99
    assert list(ours.feature_names_in_) == list(X.columns) and ours.n_features_in_ == 6
    assert not hasattr(ours, "coef_")  # its weights are those of other features
    np.testing.assert_array_equal(ours.predict(given[:3]), ["Adelie"] * 3)
    with pytest.raises(ValueError, match="feature names"):
        ours.predict(given[[*reversed(list(X.columns))]])


def test_an_unknown_category_is_a_warning_that_names_it():
    X = pd.DataFrame({"kind": ["oak", "fir"] * 5, "height": [1.0, 2.0] * 5})
    regressor = RemoteRegressor().fit(X, np.array([1.0, 3.0] * 5))
    with pytest.warns(UserWarning, match="'yew' did not occur in column 'kind'"):
        regressor.predict(pd.DataFrame({"kind": ["yew"], "height": [1.0]}))


def test_gaps_in_numbers_are_learned_and_refused_where_there_were_none_to_learn_from(way: str):
    X, y = np.array([[1.0, 0], [np.nan, 1], [3, 2], [4, 3]] * 3), np.array([1.0, 5, 3, 4] * 3)
    regressor = RemoteRegressor(l2=1e-9).fit(X, y)  # a gap is a feature of its own: the fit is exact
    np.testing.assert_allclose(regressor.predict(X), y, atol=1e-4)
    np.testing.assert_allclose(regressor.predict(X[[2, 3]]), [3, 4], atol=1e-4)
    with pytest.raises(ValueError, match="X has gaps"):
        RemoteRegressor().fit(X[2:4], y[2:4]).predict(X)


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (["yes", "no"], ["no", "yes"]),
        (["b", "a", "c"], ["a", "b", "c"]),
        ([-1, 1], [-1, 1]),
        ([10, 9, 2], [2, 9, 10]),
        ([True, False], [0, 1]),
        ([1.0, 0.0], [0, 1]),
        (["2", "10"], ["10", "2"]),
        (["null", "NA"], ["NA", "null"]),
        (["true", "false"], ["false", "true"]),
        ([" a", "a"], [0, 1]),  # a table would not tell them apart
        ([0, 2**60], [0, 1]),  # beyond the whole numbers of a float
    ],
)
@pytest.mark.parametrize("has_gap", [False, True])
def test_labels_come_back_as_they_were_and_the_service_shows_them(labels, shown, has_gap, way, client):
    kinds = np.arange(30) % len(labels)
    X, y = np.eye(len(labels))[kinds], np.array(labels)[kinds]
    X[-1, 0] = np.nan if has_gap else X[-1, 0]
    classifier = RemoteClassifier().fit(X, y)
    assert classifier.classes_.tolist() == sorted(labels)
    assert classifier.job_.config["network"]["activation"] == ("sigmoid" if len(labels) == 2 else "softmax")
    assert classifier.predict(X)[:-1].tolist() == y[:-1].tolist() and classifier.predict(X).dtype == y.dtype
    assert client.models.version(classifier.model_, classifier.version_).task["classes"] == shown


def test_class_weights_are_given_by_label():
    X, y = np.zeros((4, 1)), np.array(["no", "no", "no", "yes"])
    # with a constant feature p is the share of the weights: 3 / (3 + 3), without weights 1 / 4
    plain, weighted = (RemoteClassifier(class_weights=each, l2=0) for each in (None, {"yes": 3}))
    np.testing.assert_allclose(plain.fit(X, y).predict_proba(X)[:, 1], 0.25, atol=1e-4)
    np.testing.assert_allclose(weighted.fit(X, y).predict_proba(X)[:, 1], 0.5, atol=1e-4)


def test_every_setting_reaches_the_job():
    settings = {"loss": "mean_squared_error", "optimizer": "adam", "learning_rate": 0.02, "batch_size": 16}
    settings |= {"max_epochs": 3, "tolerance": 0.0, "l2": 0.001, "initialization": "glorot_uniform"}
    settings |= {"standardize": False, "dtype": "float32"}
    classifier = RemoteClassifier(
        **settings,
        hidden_layers=np.array([4, 3]),
        activation="sigmoid",
        hidden_activation="relu",
        random_state=7,
        validation_fraction=0.25,
        early_stopping_patience=2,
        time_limit_s=30.0,
    )
    with pytest.warns(ConvergenceWarning, match="max_epochs"):
        config = classifier.fit(*CANCER).job_.config
    assert settings.items() <= config["training"].items() and config["training"]["seed"] == 7
    assert config["training"]["time_limit_s"] == 30
    assert config["network"] == {"activation": "sigmoid", "hidden_layers": [4, 3], "hidden_activation": "relu"}
    assert config["validation"] == {"fraction": 0.25, "folds": None, "early_stopping_patience": 2}
    assert classifier.n_iter_ == 3 and not hasattr(classifier, "coef_")
    regressor = RemoteRegressor(folds=3, scale_targets=False, l2=np.float64(0.5)).fit(*DIABETES)
    assert regressor.job_.config["validation"]["folds"] == 3
    assert (regressor.job_.config["training"]["scale_targets"], regressor.job_.config["training"]["l2"]) == (False, 0.5)


def test_a_setting_that_the_service_refuses_is_named():
    with pytest.raises(Invalid, match="/training/learning_rate: Input should be greater than 0"):
        RemoteClassifier(learning_rate=-1.0).fit(*CANCER)


def test_random_states_become_seeds():
    fits = [
        RemoteClassifier(hidden_layers=[2], random_state=state, max_epochs=5, tolerance=0)
        for state in (None, 0, np.random.RandomState(5), np.random.RandomState(5))
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        seeds = [each.fit(*WINE).job_.config["training"]["seed"] for each in fits]
    assert seeds == [0, 0, *[np.random.RandomState(5).randint(2**31 - 1)] * 2]


def test_step_outputs_have_no_probability():
    X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 1])
    classifier = RemoteClassifier(activation="step").fit(X, y)
    assert not hasattr(classifier, "predict_proba")
    np.testing.assert_array_equal(classifier.decision_function(X), [-0.5, 0.5, 0.5, 0.5])
    np.testing.assert_array_equal(classifier.predict(X), y)


def test_several_targets_are_learned_together_and_zeros_and_ones_are_numbers_to_a_regressor():
    X, y = DIABETES
    regressor = RemoteRegressor().fit(X, np.column_stack([y, -2 * y]))
    np.testing.assert_allclose(regressor.predict(X), np.outer(RemoteRegressor().fit(X, y).predict(X), [1, -2]))
    line = RemoteRegressor(l2=0).fit([[0.0], [1], [2], [3]], [0, 0, 1, 1])  # y = 0.4 x - 0.1
    np.testing.assert_allclose(line.predict([[0.0], [5]]), [-0.1, 1.9], atol=1e-9)
    with pytest.raises(ValueError, match="several targets can be learned only from numbers without gaps"):
        RemoteRegressor().fit([[np.nan], [1], [2]], [[1, 2], [3, 4], [5, 6]])


def test_partial_fit_is_one_epoch_from_the_weights_before():
    # MSE of x = 1, -1 with y = 3, 1 from zeros: dC/dw = -2, dC/db = -4, and L = 2; so 1/L gives w = 1, b = 2
    X, y = np.array([[1.0], [-1.0]]), np.array([3.0, 1.0])
    regressor = RemoteRegressor(learning_rate=0.25).partial_fit(X, y)
    np.testing.assert_allclose([regressor.coef_[0], regressor.intercept_], [0.5, 1.0])
    regressor.partial_fit(X, y)  # dC/dw = 2 (w - 1) = -1, dC/db = 2 (b - 2) = -2
    np.testing.assert_allclose([regressor.coef_[0], regressor.intercept_], [0.75, 1.5])
    np.testing.assert_allclose(RemoteRegressor().partial_fit(X, y).predict(X), y)


@pytest.mark.parametrize("hidden_layers", [[], [8]])
def test_partial_fit_learns_from_batches_that_lack_classes(hidden_layers: list[int], client: Client):
    X, y = WINE  # sorted by class: each batch of 30 has one or two of the three
    classifier = RemoteClassifier(hidden_layers=hidden_layers, standardize=False)
    X = StandardScaler().fit_transform(X)
    for _ in range(5):
        for start in range(0, len(y), 30):
            part = slice(start, start + 30)
            classifier.partial_fit(X[part], y[part], classes=[0, 1, 2])
    classifier.partial_fit(X[:1], y[:1])
    assert classifier.classes_.tolist() == [0, 1, 2] and classifier.score(X, y) > 0.9
    # the versions in between are of no use to anybody
    assert [each.version for each in client.models.get(classifier.model_).versions] == [classifier.version_]


def test_partial_fit_says_what_it_cannot_do():
    X, y = WINE
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        RemoteClassifier().partial_fit(X, y)
    classifier = RemoteClassifier().fit(X, y)
    with pytest.raises(ValueError, match="y has the class 3, which is not among the classes"):
        classifier.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="is not the same as on last call"):
        classifier.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="partial_fit needs numbers without gaps"):
        RemoteClassifier().partial_fit([[np.nan], [1]], [0, 1], classes=[0, 1])


def test_an_estimator_predicts_with_its_own_version_for_ever(client: Client):
    X, y = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 2.0])
    first = RemoteRegressor(model="growing", l2=0).fit(X, y)
    second = RemoteRegressor(model="growing", l2=0).fit(X, 10 * y)
    assert (first.version_, second.version_) == (1, 2)
    np.testing.assert_allclose([first.predict([[5.0]]), second.predict([[5.0]])], [[5], [50]])
    second.partial_fit(X, 10 * y)
    assert second.version_ == 3
    del first, second
    assert client.models.get("growing").n_versions == 3


def test_a_model_of_its_own_is_deleted_with_the_estimator_or_by_the_next_fit(client: Client):
    before = own_models(client)
    scores = cross_val_score(RemoteClassifier(), *CANCER, cv=5)
    theirs = make_pipeline(StandardScaler(), LogisticRegression())
    np.testing.assert_array_equal(scores, cross_val_score(theirs, *CANCER, cv=5))
    assert own_models(client) == before
    regressor = RemoteRegressor().fit(*DIABETES)
    first = regressor.model_
    regressor.fit(*DIABETES)
    assert own_models(client) - before == {regressor.model_} and regressor.model_ != first
    del regressor
    assert own_models(client) == before


def test_a_pickle_holds_an_address_and_no_key_and_its_model_stays(client: Client, stack: Stack, monkeypatch):
    monkeypatch.setenv("PERCEPTRON_API_KEY", "secret-of-the-test")
    X, y = CANCER
    estimator = RemoteClassifier(base_url=stack.url).fit(X, y)
    expected, model = estimator.predict_proba(X), estimator.model_
    content = pickle.dumps(estimator)
    assert stack.url.encode() in content and b"secret-of-the-test" not in content
    del estimator
    loaded = pickle.loads(content)
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)
    assert loaded.job_.metrics["accuracy"] > 0.98
    loaded.partial_fit(X, y)
    assert loaded.model_ == model and loaded.version_ == 2
    del loaded
    client.models.delete(model)


def test_an_estimator_that_lives_to_the_end_of_its_process_leaves_no_model(client: Client, stack: Stack):
    program = (
        "from perceptron_client.sklearn import RemoteRegressor\n"
        "estimator = RemoteRegressor().fit([[0], [1], [2]], [0, 1, 2])\n"
        "print(estimator.model_)"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.stderr == "" and ran.stdout.startswith("sklearn-")
    assert ran.stdout.strip() not in own_models(client)


def test_a_child_of_a_fork_does_not_delete_the_models_of_its_parent(client: Client):
    regressor = RemoteRegressor().fit([[0], [1], [2]], [0, 1, 2])
    child = os.fork()
    if child == 0:
        regressor._deletion()
        os._exit(0)
    os.waitpid(child, 0)
    np.testing.assert_allclose(regressor.predict([[1]]), [1])


def test_it_is_cloned_searched_and_put_into_pipelines(stack: Stack):
    X, y = CANCER
    pipeline = make_pipeline(StandardScaler(), RemoteClassifier(base_url=stack.url))
    search = GridSearchCV(pipeline, {"remoteclassifier__l2": np.logspace(-4, -1, 3)}, cv=3).fit(X, y)
    # sum of the losses + |w|^2 / (2 C): l2 = 1 / (2 n C), with n = 379 or 380 in each fold
    twin = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8, max_iter=10_000))
    grid = {"logisticregression__C": 1 / (2 * 379.33 * np.logspace(-4, -1, 3))}
    expected = GridSearchCV(twin, grid, cv=3).fit(X, y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    assert search.best_index_ == expected.best_index_
    copied = clone(search.best_estimator_)
    assert copied.get_params()["remoteclassifier__l2"] == search.best_params_["remoteclassifier__l2"]
    assert not hasattr(copied[-1], "version_")


def test_only_a_search_that_a_sweep_can_do_gets_the_hint_and_only_once(caplog: pytest.LogCaptureFixture):
    hint._hint.cache_clear()
    X, y = DIABETES
    with caplog.at_level(logging.INFO, "perceptron_client"):
        cross_val_score(RemoteRegressor(), X, y, cv=2)
        GridSearchCV(RemoteRegressor(), {"l2": [0.1], "hidden_layers": [[]]}, cv=2).fit(X, y)
        assert caplog.messages == []
        for _ in range(2):
            GridSearchCV(make_pipeline(RemoteRegressor()), {"remoteregressor__l2": [0.1, 1]}, cv=2).fit(X, y)
    assert len(caplog.messages) == 1 and "client.jobs.create(..., sweep=" in caplog.messages[0]


def test_a_training_that_takes_too_long_is_cancelled(client: Client):
    estimator = RemoteClassifier(
        model="slow", optimizer="gradient_descent", max_epochs=1_000_000, tolerance=0, wait_timeout_s=1
    )
    with pytest.raises(JobNotDone):
        estimator.fit(*CANCER)
    assert [job.status for job in client.jobs.list(model="slow")] == ["cancelled"]


def test_a_column_may_have_any_name(way: str, client: Client):
    names = ["target", "instance_weights", "file", "save", "a/b"]
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 5)), columns=names)
    y = X.sum(axis=1)
    regressor = RemoteRegressor(l2=0).fit(X, y, sample_weight=np.ones(20))
    np.testing.assert_allclose(regressor.coef_, np.ones(5), atol=1e-6)
    assert client.models.version(regressor.model_, 1).feature_names == tuple(names)


def test_without_scikit_learn_the_error_names_the_extra():
    program = "import sys; sys.modules['sklearn'] = None; import perceptron_client; import perceptron_client.sklearn"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    last = ran.stderr.splitlines()[-1]
    assert last.endswith("the estimators need scikit-learn: pip install 'perceptron-client[sklearn]'")
