"""What platforms ask for besides predictions, with and without DEFAULT_MODEL; and the routes that Vertex AI names."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient
from redis import Redis

from service.app import API_VERSION, create_app
from service.predict.protocols.hosting.platform_routes import platform_routes
from service.server.shell import Shell
from service.settings import Limits, Settings
from storage.blobs import BlobStore
from storage.connection import connect, connect_on_loop
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.models.versions import ModelReference
from tests.builders import loaded_models, publish


@pytest.fixture
def hosted(redis: Redis, blobs: BlobStore) -> FlaskClient:
    models = loaded_models(ModelStore(redis), default=ModelReference("or", alias="production"))
    return create_app(redis, blobs, Limits(), models).test_client()


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_with_a_default_model_ready_means_that_it_can_predict(hosted: FlaskClient, jobs: JobStore, path: str) -> None:
    def status_and_code() -> Any:
        answer = hosted.get(path)
        return answer.status_code, answer.get_json().get("code")

    assert status_and_code() == (404, "model_not_found")
    publish(jobs)
    assert status_and_code() == (404, "alias_not_found")
    hosted.put("/models/or/aliases/production", json={"version": 1})
    assert status_and_code() == (200, None)


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_without_one_ready_means_that_the_process_is(http: FlaskClient, path: str) -> None:
    answer = http.get(path)
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ready"})


def test_the_version_is_bare_text(http: FlaskClient) -> None:
    answer = http.get("/version", headers={"Accept": "text/plain"})
    assert (answer.mimetype, answer.text) == ("text/plain", API_VERSION)


def test_without_redis_the_process_still_says_that_it_is_ready_and_predictions_are_503(
    blobs: BlobStore, tmp_path: Path
) -> None:
    nobody = connect(f"unix://{tmp_path}/nobody.sock", timeout_s=0.3, n_retries=0)
    http = create_app(nobody, blobs, Limits()).test_client()
    for _ in range(2):
        assert http.get("/ping").status_code == 200
        for path in ("/invocations?model=or", "/v1/models/or:predict"):
            answer = http.post(path, json={"instances": [[1, 2]]})
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert http.get("/v1/models/or").status_code == 503


def test_whoever_names_no_model_means_the_default_one(hosted: FlaskClient, jobs: JobStore) -> None:
    for weight in (0.0, 1.0):
        publish(jobs, weight=weight)
    hosted.put("/models/or/aliases/production", json={"version": 1})
    assert hosted.post("/invocations", json={"instances": [[1, 2]]}).get_json() == {"predictions": [[0.5]]}
    by_name = hosted.post("/invocations?model=or", json={"instances": [[1, 2]]}).get_json()
    assert by_name["predictions"][0][0] > 0.9


@pytest.fixture
def ask(redis: Redis, blobs: BlobStore, jobs: JobStore, tmp_path: Path) -> Callable[..., httpx.Response]:
    """Ask the whole service, with the environment that a platform makes."""
    publish(jobs, weight=0.0)
    models = loaded_models(ModelStore(redis), default=ModelReference("or"))
    app = create_app(redis, blobs, Limits(), models)

    def ask(env: dict[str, str], method: str, path: str, **options: Any) -> httpx.Response:
        settings = Settings.from_env({"REDIS_URL": "redis://r", **env})
        on_loop = connect_on_loop(f"unix://{tmp_path}/nobody.sock", timeout_s=0.5, max_connections=1)
        renamed = platform_routes(settings)
        shell = Shell(app, on_loop, models, threads=1, limits=Limits(), renamed=renamed)

        async def answer() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(shell), base_url="http://h") as http:  # type: ignore[arg-type]
                return await http.request(method, path, **options)

        return asyncio.run(answer())

    return ask


VERTEX = {"instances": [[1, 2]], "parameters": {"confidence": 0.5}}


@pytest.mark.parametrize(
    ("health", "predict"),
    [
        ("/v1/endpoints/12/deployedModels/34", "/v1/endpoints/12/deployedModels/34:predict"),  # what it names by itself
        ("/health", "/predict"),  # what its tutorials name; /predict is another route of ours
        ("/ping", "/invocations"),
        ("/", "/"),
        ("/v1/models/or", "/v1/models/or:predict"),
        ("/readyz", "/v1/models/or/versions/1:predict"),
    ],
)
def test_the_routes_that_vertex_names_are_served(ask: Callable[..., httpx.Response], health: str, predict: str) -> None:
    env = {"AIP_HEALTH_ROUTE": health, "AIP_PREDICT_ROUTE": predict}
    assert ask(env, "GET", health).status_code == 200
    answer = ask(env, "POST", predict, json=VERTEX)
    assert (answer.status_code, answer.json()) == (200, {"predictions": [[0.5]]})


def test_a_model_in_vertexs_predict_route_is_the_one_meant(ask: Callable[..., httpx.Response], jobs: JobStore) -> None:
    publish(jobs, "and", weight=1.0)
    env = {"AIP_PREDICT_ROUTE": "/v1/models/and:predict"}
    assert ask(env, "POST", "/v1/models/and:predict", json=VERTEX).json()["predictions"][0][0] > 0.9


def test_without_such_names_the_routes_are_our_own(ask: Callable[..., httpx.Response]) -> None:
    assert ask({}, "POST", "/predict", json={"model": "or", "instances": [[1, 2]]}).json()["outputs"] == [[0.5]]
    assert ask({}, "POST", "/predict", json=VERTEX).status_code == 422
    assert ask({"AIP_PREDICT_ROUTE": "/predict"}, "GET", "/predict").status_code == 405
