"""CORS_ORIGINS: answers that pages from other origins may read, on every way that answers."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from redis import Redis

from service.app import create_app
from service.http.errors import RateLimitedError
from service.server.shell import Shell
from service.settings import Limits, Settings
from standalone import EmbeddedServer
from storage.blobs import BlobStore
from storage.connection import connect_on_loop
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import loaded_models, publish, training_spec

PAGE, OTHER = "https://app.example", "https://other.example"
Ask = Callable[..., httpx.Response]


@pytest.fixture
def shell(redis: Redis, blobs: BlobStore, server: EmbeddedServer) -> Callable[..., Ask]:
    def with_origins(*origins: str) -> Ask:
        def ask(method: str, path: str, origin: str | None = PAGE, **options: Any) -> httpx.Response:
            async def answer() -> httpx.Response:
                on_loop = connect_on_loop(server.url, timeout_s=5, max_connections=1)
                limits, models = Limits(max_body_bytes=1_000), loaded_models(ModelStore(redis))
                app = create_app(redis, blobs, limits, models)
                shell: Any = Shell(app, on_loop, models, threads=1, limits=limits, cors_origins=origins)
                headers = {"Origin": origin} if origin else {}
                async with httpx.AsyncClient(transport=httpx.ASGITransport(shell), base_url="http://h") as http:
                    found = await http.request(method, path, headers=headers | options.pop("headers", {}), **options)
                await on_loop.aclose()
                return found

            return asyncio.run(answer())

        return ask

    return with_origins


REQUESTS: list[tuple[str, str, dict[str, Any], int]] = [
    ("GET", "/livez", {}, 200),
    ("GET", "/jobs", {}, 200),
    ("GET", "/models/nope", {}, 404),
    ("POST", "/predict", {"json": {"model": "or", "instances": [[0, 1]]}}, 200),
    ("POST", "/predict", {"json": {"model": "or", "instances": [[0]]}}, 422),
    ("POST", "/v1/models/or:predict", {"content": b"{}", "headers": {"Content-Encoding": "br"}}, 415),
    ("POST", "/jobs", {"content": b" " * 1_001}, 413),
]


@pytest.mark.parametrize(("method", "path", "options", "status"), REQUESTS)
def test_every_answer_can_be_read_from_an_origin_of_the_list(
    shell: Callable[..., Ask], jobs: JobStore, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    publish(jobs)
    answer = shell(PAGE, "http://localhost:3000")(method, path, **options)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, PAGE)
    assert answer.headers["Vary"] == "Origin"
    assert "Location" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert answer.headers.get_list("Cross-Origin-Resource-Policy") == ["cross-origin"]


def test_a_page_can_read_how_long_to_wait_and_that_a_key_is_wanted(shell: Callable[..., Ask]) -> None:
    exposed = shell(PAGE)("GET", "/livez").headers["Access-Control-Expose-Headers"].lower().split(", ")
    of_refusals = [name.decode() for name, _ in RateLimitedError("key", 5, "MAX_KEY_REQUESTS_PER_S").headers]
    assert len(of_refusals) == 5 and {*of_refusals, "retry-after", "www-authenticate", "x-warnings"} <= set(exposed)


@pytest.mark.parametrize(("method", "path", "options", "status"), REQUESTS)
def test_other_origins_and_an_empty_setting_get_no_headers(
    shell: Callable[..., Ask], jobs: JobStore, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    publish(jobs)
    for ask, origin in ((shell(PAGE), OTHER), (shell(PAGE), None), (shell(), PAGE)):
        answer = ask(method, path, origin, **dict(options))
        assert answer.status_code == status
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers.get_list("Cross-Origin-Resource-Policy") == ["same-origin"]
    assert shell(PAGE)(method, path, OTHER, **options).headers["Vary"] == "Origin"  # for caches


def test_a_star_stands_for_every_origin(shell: Callable[..., Ask]) -> None:
    answer = shell("*")("GET", "/livez", "null")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in answer.headers


def test_an_event_stream_and_a_long_poll_have_the_headers(shell: Callable[..., Ask], jobs: JobStore) -> None:
    job = jobs.submit("m", training_spec(), metadata={})
    jobs.cancel(job.id)
    stream = shell(PAGE)("GET", f"/jobs/{job.id}/events", headers={"Accept": "text/event-stream"})
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    poll = shell(PAGE)("GET", f"/jobs/{job.id}", headers={"Prefer": "wait=1"})
    for answer in (stream, poll):
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, PAGE)


PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,idempotency-key"}


def test_a_preflight_request_is_answered_without_its_route(shell: Callable[..., Ask]) -> None:
    for path in ("/jobs", "/predict", "/livez"):
        answer = shell(PAGE)("OPTIONS", path, headers=PREFLIGHT)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
        assert answer.headers["Access-Control-Allow-Headers"] == "content-type,idempotency-key"
        assert int(answer.headers["Access-Control-Max-Age"]) > 0


@pytest.mark.parametrize(("origins", "origin"), [((), PAGE), ((PAGE,), OTHER), ((PAGE,), PAGE + "."), ((PAGE,), None)])
def test_a_preflight_request_from_elsewhere_allows_nothing(
    shell: Callable[..., Ask], origins: tuple[str, ...], origin: str | None
) -> None:
    answer = shell(*origins)("OPTIONS", "/jobs", origin, headers=PREFLIGHT)
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", ()),
        ("*", ("*",)),
        ("https://app.example, http://localhost:3000", ("https://app.example", "http://localhost:3000")),
        ("http://[::1]:80 capacitor://localhost", ("http://[::1]:80", "capacitor://localhost")),
    ],
)
def test_the_setting_is_a_list(text: str, origins: tuple[str, ...]) -> None:
    assert Settings.from_env({"REDIS_URL": "redis://r", "CORS_ORIGINS": text}).cors_origins == origins


@pytest.mark.parametrize("text", ["app.example", "https://app.example/", "https://App.example", "https://*.example"])
def test_what_no_browser_sends_ends_the_start(text: str) -> None:
    with pytest.raises(ValueError, match=r"CORS_ORIGINS must be \* or origins like https://app.example"):
        Settings.from_env({"REDIS_URL": "redis://r", "CORS_ORIGINS": text})
