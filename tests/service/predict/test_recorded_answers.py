"""Requests of every protocol and format, and their answers before there was one predict: they stay byte for byte.

Each line of the file is a request and its answer; bytes are written as Latin-1. The weights are such that every output
is exact, or a third.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from service.app import create_app
from service.settings import Limits
from storage.blobs import BlobStore
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.models.versions import ModelReference
from tests.builders import loaded_models, publish_network
from tests.ear import Ear

RECORDED = [json.loads(line) for line in Path(__file__).with_name("recorded_answers.jsonl").read_text().splitlines()]

ADDED_SINCE = {"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin"}
"""What browsers are told with every answer, and were not when these were recorded."""


@pytest.fixture(params=["from memory", "from Redis"])
def client(request: pytest.FixtureRequest, redis: Redis, blobs: BlobStore, jobs: JobStore) -> Iterator[FlaskClient]:
    publish_network(jobs, "line", weights=[[1], [3]], classes=None)
    publish_network(jobs, "pair", weights=[[1, 2], [3, -4]], classes=None, is_list=True)
    publish_network(jobs, "abc", weights=[[0, 0, 0], [0, 0, 0]], classes=["é", "no", "yes"])
    store, ear = ModelStore(redis), Ear()
    models = loaded_models(store)
    models.follow(ear)
    for name in ("line", "pair", "abc"):
        store.set_alias(name, "production", 1)
        models.get(ModelReference(name))
    ear.is_connected = request.param == "from memory"
    yield create_app(redis, blobs, Limits(), models).test_client()
    ear.is_connected = False


def named(problem: dict[str, Any]) -> tuple[str, list[str]]:
    """What clients match on; the words of an error may change."""
    return problem["code"], [fault["pointer"] for fault in problem.get("errors", [])]


def test_every_answer_is_the_recorded_one(client: FlaskClient) -> None:
    for recorded in RECORDED:
        answer = client.post(
            recorded["path"],
            data=recorded["body"].encode("latin-1"),
            headers=recorded["headers"] | {"X-Request-Id": "r"},
        )
        headers: dict[str, Any] = dict(answer.headers)
        assert headers.pop("Server-Timing").startswith("predict;dur=")
        assert int(headers.pop("Content-Length")) == len(answer.data)
        assert answer.status_code == recorded["status"], recorded
        assert headers == recorded["answer_headers"] | ADDED_SINCE, recorded
        if answer.status_code == 200:
            assert answer.data.decode("latin-1") == recorded["answer"], recorded
        else:
            assert named(answer.get_json()) == named(json.loads(recorded["answer"])), recorded


def test_every_protocol_is_recorded() -> None:
    paths = {recorded["path"].partition("?")[0].split("/")[1] for recorded in RECORDED}
    assert paths == {"predict", "v1", "v2", "invocations"}
    assert {recorded["status"] for recorded in RECORDED} == {200, 404, 422}
