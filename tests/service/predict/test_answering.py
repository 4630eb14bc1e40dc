"""How much one request to predict may ask for, and how much of it the event loop does: the same in all protocols."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from redis import Redis

from service.http.wire import HttpAnswer, HttpRequest
from service.predict.formats.tables import CSV, write_npy
from service.predict.memory.loaded_models import LoadedModels
from service.predict.ways import find
from service.settings import Limits
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import loaded_models, publish_network

N_OUTPUTS = 4_096


class Ear:
    """A listener that hears nothing."""

    is_connected = True

    def on_model(self, callback: Callable[[str | None], None]) -> None:
        pass


@pytest.fixture
def models(redis: Redis, jobs: JobStore) -> Iterator[LoadedModels]:
    """One feature and 4,096 outputs: 8,192 parameters, and 212,992 steps for each instance."""
    publish_network(jobs, "wide", weights=[[1.0] * N_OUTPUTS], classes=None, is_list=True)
    models, ear = loaded_models(ModelStore(redis)), Ear()
    models.follow(ear)
    models.get("wide")
    yield models
    ear.is_connected = False


def in_json(**members: Any) -> dict[str, bytes]:
    return {"body": orjson.dumps(members)}


def tensor(n: int) -> list[dict[str, Any]]:
    return [{"name": "input", "shape": [n, 1], "datatype": "FP64", "data": [0.5] * n}]


WAYS: dict[str, tuple[str, Callable[[int], dict[str, bytes]]]] = {
    "native": ("/predict", lambda n: in_json(model="wide", instances=[[0.5]] * n)),
    "by name": ("/predict", lambda n: in_json(model="wide", instances=[{"x0": 0.5}] * n)),
    "npy": (
        "/predict",
        lambda n: {
            "body": write_npy(np.full((n, 1), 0.5)),
            "content_type": b"application/x-npy",
            "accept": b"application/x-npy",
            "query": b"model=wide",
        },
    ),
    "TensorFlow Serving": ("/v1/models/wide:predict", lambda n: in_json(instances=[[0.5]] * n)),
    "Open Inference Protocol": ("/v2/models/wide/infer", lambda n: in_json(inputs=tensor(n))),
    "SageMaker": ("/invocations", lambda n: {"query": b"model=wide", **in_json(instances=[[0.5]] * n)}),
}


def ask(way: str, n: int, models: LoadedModels, limits: Limits, *, may_wait: bool) -> HttpAnswer | None:
    path, request = WAYS[way]
    match = find("POST", path)
    assert match is not None
    asked = HttpRequest(request_id="", path_values=match.values, **request(n))  # type: ignore[arg-type]
    return match.predict(asked, models, limits, may_wait=may_wait)


@pytest.mark.parametrize("way", WAYS)
def test_more_than_a_million_steps_are_left_to_a_thread(way: str, models: LoadedModels) -> None:
    on_loop = ask(way, 4, models, Limits(), may_wait=False)  # 851,968 steps
    assert on_loop is not None and on_loop.status == 200
    assert ask(way, 5, models, Limits(), may_wait=False) is None  # 1,064,960
    in_thread = ask(way, 5, models, Limits(), may_wait=True)
    assert in_thread is not None and in_thread.status == 200


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_holds_so_many_outputs_at_most(way: str, models: LoadedModels) -> None:
    limits = Limits(max_predict_outputs=2 * N_OUTPUTS)
    allowed, refused = (ask(way, n, models, limits, may_wait=True) for n in (2, 3))
    assert allowed is not None and allowed.status == 200
    assert refused is not None and refused.status == 422
    problem = orjson.loads(refused.body)
    assert problem["code"] == "invalid_request"
    assert "8192 outputs (MAX_PREDICT_OUTPUTS), not 3 instances x 4096 outputs" in problem["detail"]


def test_the_outputs_of_versions_compared_count_together(models: LoadedModels) -> None:
    body = orjson.dumps({"model": "wide", "instances": [[0.5], [0.5]], "versions": [1]})
    match = find("POST", "/predict")
    assert match is not None
    for n_allowed, status in ((2 * N_OUTPUTS, 200), (2 * N_OUTPUTS - 1, 422)):
        answer = match.predict(HttpRequest(body, ""), models, Limits(max_predict_outputs=n_allowed))
        assert answer is not None and answer.status == status


@pytest.mark.parametrize("accept", [b"", CSV.encode()])
@pytest.mark.parametrize("path", ["/predict", "/invocations"])
def test_long_csv_is_left_to_a_thread(path: str, accept: bytes, redis: Redis, jobs: JobStore) -> None:
    publish_network(jobs, "narrow", weights=[[1.0]], classes=None)
    models, ear = loaded_models(ModelStore(redis)), Ear()
    models.follow(ear)
    models.get("narrow")
    match = find("POST", path)
    assert match is not None
    kind = {"content_type": b"text/csv", "query": b"model=narrow"}
    for body, is_answered in ((b"1\n" * 1_024, True), (b"1\n" * 1_025, False)):
        answer = match.predict(HttpRequest(body, "", accept=accept, **kind), models, Limits(), may_wait=False)
        assert (answer is not None) == is_answered
    ear.is_connected = False
