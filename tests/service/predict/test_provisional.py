"""`POST /predict` with a job: the best network so far, and later its version."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from perceptron import Column, Layer, Network, Standardization, TableEncoder
from storage.codec import encode_model
from storage.jobs.attempt import Attempt
from storage.jobs.reports import Figures
from storage.jobs.store import JobStore
from tests.builders import claimed, publish

FIGURES = Figures(epoch=120, cost=0.0712, validation_cost=None)


@pytest.fixture
def running(jobs: JobStore) -> Attempt:
    """A job whose best network so far has the weights 2 and -1, and no bias, for features of mean 1 and scale 2."""
    attempt = claimed(jobs)
    network = Network((Layer(np.array([[2.0], [-1.0]]), np.zeros(1), "sigmoid"),))
    attempt.show_best(encode_model(network, Standardization(np.ones(2), np.full(2, 2.0))), FIGURES)
    return attempt


def predict(http: FlaskClient, **body: Any) -> Any:
    return http.post("/predict", json={"instances": [[3.0, 1.0]], **body})


def test_a_running_job_predicts_with_its_best_network_so_far(http: FlaskClient, running: Attempt) -> None:
    # standardized, (3, 1) is (1, 0), and z is 2
    assert predict(http, job=running.job.id).get_json() == {
        "model": "or",
        "job": running.job.id,
        "provisional": True,
        **asdict(FIGURES),
        "outputs": [[pytest.approx(1 / (1 + np.exp(-2.0)), rel=1e-15)]],
        "predictions": [1],
    }


def test_the_network_of_a_table_takes_its_rows(http: FlaskClient, jobs: JobStore) -> None:
    attempt = claimed(jobs)
    encoder = TableEncoder((Column("c", "categorical", ("elm", "fir")),))
    network = Network((Layer(np.array([[2.0], [-1.0]]), np.zeros(1), "sigmoid"),))
    attempt.show_best(encode_model(network, None, encoder, "y"), FIGURES)
    rows = [{"c": "elm"}, {"c": "fir", "y": 1}, {"c": "oak"}]
    answer = predict(http, job=attempt.job.id, instances=rows).get_json()
    expected = [1 / (1 + np.exp(-2.0)), 1 / (1 + np.exp(1.0)), 0.5]  # z is the weight of the category, else 0
    assert [row[0] for row in answer["outputs"]] == pytest.approx(expected, rel=1e-15)
    assert (answer["provisional"], len(answer["warnings"])) == (True, 1)


def test_columns_that_do_not_fit_the_network_are_damaged_data(http: FlaskClient, jobs: JobStore) -> None:
    attempt = claimed(jobs)
    encoder = TableEncoder((Column("c", "categorical", ("elm",)),))
    network = Network((Layer(np.array([[2.0], [-1.0]]), np.zeros(1), "sigmoid"),))
    attempt.show_best(encode_model(network, None, encoder), FIGURES)
    assert predict(http, job=attempt.job.id, instances=[{"c": "elm"}]).status_code == 503


def test_it_can_be_explained(http: FlaskClient, running: Attempt) -> None:
    # in raw units z = x1 - x2 / 2 - 1 / 2
    answer = predict(http, job=running.job.id, explain=True).get_json()
    assert answer["contributions"] == [[3.0, -0.5]]
    assert answer["base"] == -0.5


def test_a_job_that_has_published_predicts_with_its_version(http: FlaskClient, jobs: JobStore) -> None:
    publish(jobs)
    publish(jobs)
    (second, first), _ = jobs.page(limit=2)
    assert (second.version, first.version) == (2, 1)
    answer = predict(http, job=first.id).get_json()
    assert (answer["version"], answer["provisional"], answer["job"]) == (1, False, first.id)


def test_a_job_without_a_network_is_a_conflict(http: FlaskClient, jobs: JobStore, running: Attempt) -> None:
    waiting = claimed(jobs).job.id
    answer = predict(http, job=waiting)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "no_network")
    assert "is running and has no network yet" in answer.get_json()["detail"]
    jobs.cancel(running.job.id)
    answer = predict(http, job=running.job.id)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "no_network")


def test_a_job_that_is_not_there_is_not_found(http: FlaskClient) -> None:
    answer = predict(http, job="job_0")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "job_not_found")


@pytest.mark.parametrize("also", [{"model": "or"}, {"version": 1}, {"alias": "a"}, {"versions": [1]}])
def test_a_job_goes_with_no_model(http: FlaskClient, running: Attempt, also: dict[str, Any]) -> None:
    answer = predict(http, job=running.job.id, **also)
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.get_json()["errors"]] == [f"/{next(iter(also))}"]


def test_the_answer_is_json_only(http: FlaskClient, running: Attempt) -> None:
    answer = http.post("/predict", json={"job": running.job.id, "instances": [[0, 0]]}, headers={"Accept": "text/csv"})
    assert answer.status_code == 406
