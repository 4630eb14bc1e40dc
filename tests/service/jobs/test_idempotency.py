"""`Idempotency-Key`: a request that is sent again is answered with its first job; a refused one leaves nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from storage import keys
from tests.service.jobs.test_jobs import OR, body


def test_the_same_idempotency_key_and_body_answer_with_the_first_job(http: FlaskClient, redis: Redis) -> None:
    first = http.post("/jobs", json=body(), headers={"Idempotency-Key": "k1"})
    again = http.post("/jobs", json=body(), headers={"Idempotency-Key": '"k1"'})
    assert again.status_code == 202
    assert again.get_json()["id"] == first.get_json()["id"]
    assert redis.zcard(keys.jobs()) == 1
    other = http.post("/jobs", json=body(metadata={"a": "b"}), headers={"Idempotency-Key": "k1"})
    assert (other.status_code, other.get_json()["code"]) == (422, "idempotency_key_reused")
    assert http.post("/jobs", json=body(), headers={"Idempotency-Key": "k2"}).get_json()["id"] != first.get_json()["id"]


def test_the_members_order_does_not_make_another_body(http: FlaskClient) -> None:
    one = http.post("/jobs", json={"model": "or", "data": OR}, headers={"Idempotency-Key": "k"})
    two = http.post("/jobs", json={"data": OR, "model": "or"}, headers={"Idempotency-Key": "k"})
    assert one.get_json()["id"] == two.get_json()["id"]


@pytest.mark.parametrize("key", ["", "k" * 256, "k\xe9", '"k', 'k"', '"'])
def test_an_idempotency_key_has_limits(http: FlaskClient, key: str) -> None:
    answer = http.post("/jobs", json=body(), headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, "/Idempotency-Key")


def test_a_request_sent_again_after_its_job_has_published_gives_the_first_job(
    http: FlaskClient, train: Callable[..., Any]
) -> None:
    train(body())
    sent = body(start_from={"model": "or"})  # the latest version: 1 now, 2 once the job has published
    first = train(sent, headers={"Idempotency-Key": "k"})
    assert (first["config"]["start_from"]["version"], first["result"]["version"]) == (1, 2)
    again = http.post("/jobs", json=sent, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.get_json()["id"]) == (202, first["id"])
    http.delete("/models/or")  # now the request by itself would be refused
    again = http.post("/jobs", json=sent, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.get_json()["id"]) == (202, first["id"])


def test_the_fingerprint_is_of_the_members_sent_in_any_order(http: FlaskClient) -> None:
    def post(**more: Any) -> int:
        return http.post("/jobs", json=body(**more), headers={"Idempotency-Key": "k"}).status_code

    assert post(training={"seed": 0, "l2": 0.5}, metadata={"a": "1", "b": "2"}) == 202
    assert post(metadata={"b": "2", "a": "1"}, training={"l2": 0.5, "seed": 0}) == 202
    assert post(training={"l2": 0.5}, metadata={"a": "1", "b": "2"}) == 422  # though 0 is the default seed


OTHER = {"features": [[0, 0], [0, 1]], "targets": [0, 1]}


def test_a_reused_key_is_refused_before_anything_is_checked_or_stored(http: FlaskClient, tmp_path: Path) -> None:
    http.post("/jobs", json=body(), headers={"Idempotency-Key": "k"})
    before = set(tmp_path.rglob("*"))
    sent = body(data=OTHER, start_from={"model": "nobody"})
    answer = http.post("/jobs", json=sent, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.get_json()["code"]) == (422, "idempotency_key_reused")
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"start_from": {"model": "nobody"}}, "model_not_found"),
        ({"start_from": {"model": "or", "version": 7}}, "version_not_found"),
        ({"start_from": {"model": "or"}, "network": {"hidden_layers": [2]}}, "invalid_request"),
        ({"data": {**OTHER, "feature_names": ["a"]}}, "invalid_request"),
    ],
)
def test_a_refused_request_leaves_no_blob(
    http: FlaskClient, train: Callable[..., Any], tmp_path: Path, wrong: dict[str, Any], code: str
) -> None:
    train(body())
    before = set(tmp_path.rglob("*"))
    answer = http.post("/jobs", json=body(**{"data": OTHER, **wrong}))
    assert answer.get_json()["code"] == code
    assert set(tmp_path.rglob("*")) == before
