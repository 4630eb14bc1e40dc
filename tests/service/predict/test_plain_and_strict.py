"""Plain JSON bodies are decoded fast, all others by the strict parser: the answers are the same, limits included."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from service.app import create_app
from service.settings import Limits
from storage.blobs import BlobStore
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import loaded_models, publish, publish_network
from tests.ear import Ear

LIMITS = Limits(max_predict_instances=50, max_predict_outputs=90, max_inline_values=1_000)
STRICT = {"Accept": "application/json, */*;q=0.1"}
"""Means the same as no Accept header, but the fast decoders leave it alone."""


@pytest.fixture
def http(redis: Redis, blobs: BlobStore, jobs: JobStore) -> Iterator[FlaskClient]:
    """The service as it runs: every version in memory, and a listener that keeps the pointers fresh."""
    publish(jobs, weight=0.7)
    publish_network(jobs, "two", weights=[[1, 2], [3, -4]], classes=None, is_list=True)
    publish_network(jobs, "hundred", weights=[[k / 8] for k in range(100)], classes=None)
    models, ear = loaded_models(ModelStore(redis)), Ear()
    models.follow(ear)
    client = create_app(redis, blobs, LIMITS, models).test_client()
    for name, width in (("or", 2), ("two", 2), ("hundred", 100)):
        assert client.post("/predict", json={"model": name, "instances": [[0] * width]}).status_code == 200
    yield client
    ear.is_connected = False


def both(http: FlaskClient, body: bytes) -> tuple[Any, Any]:
    """The answers of the fast decoder and of the strict parser."""
    headers = {"Content-Type": "application/json", "X-Request-Id": "r"}
    fast, strict = (http.post("/predict", data=body, headers=headers | more) for more in ({}, STRICT))
    return tuple((answer.status_code, answer.mimetype, answer.data) for answer in (fast, strict))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("model", "n_instances", "status", "detail"),
    [
        ("or", 50, 200, ""),
        ("or", 51, 422, "must hold 1 to 50 instances (MAX_PREDICT_INSTANCES), not 51"),
        ("or", 60, 422, "must hold 1 to 50 instances (MAX_PREDICT_INSTANCES), not 60"),
        ("or", 0, 422, "must hold 1 to 50 instances (MAX_PREDICT_INSTANCES), not 0"),
        ("two", 45, 200, ""),
        ("two", 46, 422, "at most 90 outputs (MAX_PREDICT_OUTPUTS), not 46 instances x 2 outputs"),
        ("hundred", 50, 200, ""),
        ("hundred", 51, 422, "must hold 1 to 50 instances (MAX_PREDICT_INSTANCES), not 51"),
    ],
)
def test_the_limits_hold_for_both(http: FlaskClient, model: str, n_instances: int, status: int, detail: str) -> None:
    row = [0.12345678] * 100 if model == "hundred" else [1, 2]  # from 32,768 bytes on another decoder is used
    fast, strict = both(http, json.dumps({"model": model, "instances": [row] * n_instances}).encode())
    assert fast == strict
    assert fast[0] == status
    assert detail in json.loads(fast[2]).get("detail", "")


NUMBERS = st.floats() | st.integers() | st.sampled_from([1e308, -1e308, 1e999, 2**63, 2**64, 10**400, -0.0])
VALUES = NUMBERS | st.none() | st.booleans() | st.text(max_size=2) | st.lists(NUMBERS, max_size=2)
FEW = st.lists(st.lists(NUMBERS, min_size=2, max_size=2) | st.lists(VALUES, max_size=3) | VALUES, max_size=3)
MEMBERS = st.fixed_dictionaries(
    {"model": st.sampled_from(["or", "two", "hundred", "nope", "a:b", 1, None]), "instances": st.just([]) | FEW},
    optional={
        "version": st.sampled_from([1, 2, 0, 1.0, True, "1", 10**15, None]),
        "alias": VALUES,
        "surplus": VALUES,
    },
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    members=MEMBERS,
    n_more=st.just(0) | st.integers(45, 55),
    width=st.sampled_from([2, 100]),
    before=st.just("") | st.sampled_from([" ", "\ufeff", "["]),
    after=st.just("") | st.sampled_from(["\n", "}", "x"]),
)
def test_the_fast_decoders_and_the_strict_parser_answer_alike(
    http: FlaskClient, members: dict[str, Any], n_more: int, width: int, before: str, after: str
) -> None:
    instances = [[0.12345678] * width] * n_more + members["instances"]
    body = before + json.dumps(members | {"instances": instances}) + after
    fast, strict = both(http, body.encode())
    assert fast == strict
