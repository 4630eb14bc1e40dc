"""How much a request to predict may ask for, and what the event loop leaves to a thread, in every protocol."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from redis import Redis

from service.http.wire import HttpAnswer, HttpRequest
from service.predict.formats.npy import write as write_npy
from service.predict.memory.loaded_models import LoadedModels
from service.predict.native import read_native
from service.predict.predict import WouldWaitError, predict
from service.predict.protocols.table import find
from service.settings import Limits
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.models.versions import ModelReference
from tests.builders import loaded_models, publish_network
from tests.ear import Ear

N_OUTPUTS = 4_096


@pytest.fixture
def models(redis: Redis, jobs: JobStore) -> Iterator[LoadedModels]:
    """One feature and 4,096 outputs: 8,192 parameters, and 212,992 steps for each instance."""
    publish_network(jobs, "wide", weights=[[1.0] * N_OUTPUTS], classes=None, is_list=True)
    models, ear = loaded_models(ModelStore(redis)), Ear()
    models.follow(ear)
    models.get(ModelReference("wide"))
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
            "body": write_npy(np.full((n, 1), 0.5), None),
            "content_type": b"application/x-npy",
            "accept": b"application/x-npy",
            "query": b"model=wide",
        },
    ),
    "TensorFlow Serving": ("/v1/models/wide:predict", lambda n: in_json(instances=[[0.5]] * n)),
    "Open Inference Protocol": ("/v2/models/wide/infer", lambda n: in_json(inputs=tensor(n))),
    "SageMaker": ("/invocations", lambda n: {"query": b"model=wide", **in_json(instances=[[0.5]] * n)}),
}


def ask(way: str, n: int, models: LoadedModels, limits: Limits, *, may_wait: bool) -> HttpAnswer:
    path, request = WAYS[way]
    match = find("POST", path)
    assert match is not None
    http = HttpRequest(request_id="", path_values=match.values, **request(n))  # type: ignore[arg-type]
    return predict(match.read, http, models, limits, may_wait=may_wait)


@pytest.mark.parametrize("way", WAYS)
def test_more_than_a_million_steps_are_left_to_a_thread(way: str, models: LoadedModels) -> None:
    assert ask(way, 4, models, Limits(), may_wait=False).status == 200  # 851,968 steps
    with pytest.raises(WouldWaitError):
        ask(way, 5, models, Limits(), may_wait=False)  # 1,064,960
    assert ask(way, 5, models, Limits(), may_wait=True).status == 200


@pytest.mark.parametrize("may_wait", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_a_request_holds_so_many_instances_at_most(way: str, may_wait: bool, models: LoadedModels) -> None:
    limits = Limits(max_predict_instances=3)
    allowed, refused = (ask(way, n, models, limits, may_wait=may_wait) for n in (3, 4))
    assert (allowed.status, refused.status) == (200, 422)
    assert "must hold 1 to 3 instances (MAX_PREDICT_INSTANCES), not 4" in orjson.loads(refused.body)["detail"]


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_holds_so_many_outputs_at_most(way: str, models: LoadedModels) -> None:
    limits = Limits(max_predict_outputs=2 * N_OUTPUTS)
    allowed, refused = (ask(way, n, models, limits, may_wait=True) for n in (2, 3))
    assert (allowed.status, refused.status) == (200, 422)
    problem = orjson.loads(refused.body)
    assert problem["code"] == "invalid_request"
    assert "8192 outputs (MAX_PREDICT_OUTPUTS), not 3 instances x 4096 outputs" in problem["detail"]


def test_the_outputs_of_versions_compared_count_together(models: LoadedModels) -> None:
    body = orjson.dumps({"model": "wide", "instances": [[0.5], [0.5]], "versions": [1]})
    for n_allowed, status in ((2 * N_OUTPUTS, 200), (2 * N_OUTPUTS - 1, 422)):
        limits = Limits(max_predict_outputs=n_allowed)
        assert predict(read_native, HttpRequest(body, ""), models, limits).status == status


@pytest.mark.parametrize("accept", [b"", b"text/csv"])
@pytest.mark.parametrize("path", ["/predict", "/invocations"])
@pytest.mark.parametrize("line", [b"1\n", b"[1]\n"])
def test_long_text_is_left_to_a_thread(path: str, accept: bytes, line: bytes, redis: Redis, jobs: JobStore) -> None:
    publish_network(jobs, "narrow", weights=[[1.0]], classes=None)
    models, ear = loaded_models(ModelStore(redis)), Ear()
    models.follow(ear)
    models.get(ModelReference("narrow"))
    match = find("POST", path)
    assert match is not None
    media_type = b"text/csv" if line == b"1\n" else b"application/jsonlines"
    n_lines = 2_048 // len(line)
    http = HttpRequest(line * n_lines, "", accept=accept, content_type=media_type, query=b"model=narrow")
    assert predict(match.read, http, models, Limits(), may_wait=False).status == 200
    http.body += line
    with pytest.raises(WouldWaitError):
        predict(match.read, http, models, Limits(), may_wait=False)
    ear.is_connected = False


def test_what_is_not_in_memory_is_left_to_a_thread(models: LoadedModels, jobs: JobStore) -> None:
    publish_network(jobs, "new", weights=[[1.0]], classes=None)
    http = HttpRequest(b'{"model": "new", "instances": [[1]]}', "")
    with pytest.raises(WouldWaitError):
        predict(read_native, http, models, Limits(), may_wait=False)
    assert predict(read_native, http, models, Limits()).status == 200
