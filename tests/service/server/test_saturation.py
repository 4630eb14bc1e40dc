"""What the figures say of an API whose threads are all busy: what its clients see."""

import asyncio
import logging
import time
from concurrent.futures import Executor
from typing import Any

import httpx
import orjson
import pytest
from redis import Redis

from service.app import create_app
from service.server.predict_on_loop import PredictOnLoop
from service.server.shell import Shell
from service.settings import Limits
from standalone import EmbeddedServer
from storage.blobs import BlobStore
from storage.connection import connect_on_loop
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import loaded_models, publish
from tests.ear import Ear

LARGE = orjson.dumps({"model": "or", "instances": [[0.5, 0.5]] * 10_000})
"""Too large for the event loop."""


@pytest.mark.serial
@pytest.mark.parametrize("path", ["/predict", "/predict/"])  # Flask alone knows the second one
def test_the_wait_for_a_thread_is_in_the_histogram_the_log_and_the_header(
    server: EmbeddedServer,
    redis: Redis,
    jobs: JobStore,
    models: ModelStore,
    blobs: BlobStore,
    caplog: pytest.LogCaptureFixture,
    path: str,
) -> None:
    publish(jobs, "or")
    loaded = loaded_models(models)
    on_loop = connect_on_loop(server.url, timeout_s=5, max_connections=1)
    shell = Shell(create_app(redis, blobs, Limits(), loaded), on_loop, loaded, threads=1, limits=Limits())
    flask: Any = shell._flask
    threads: Executor = shell.predict._threads if path == "/predict" else flask.executor

    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(shell), base_url="http://h") as http:  # type: ignore[arg-type]
            await http.post(path, content=LARGE, headers={"Content-Type": "application/json"})
            threads.submit(time.sleep, 1.1)
            return await http.post(path, content=LARGE, headers={"Content-Type": "application/json"})

    with caplog.at_level(logging.WARNING, "service.observe.access_log"):
        response = asyncio.run(answer())
    assert response.status_code == 200
    assert float(response.headers["Server-Timing"].partition("=")[2]) > 1_000  # ms
    (tally,) = loaded.traffic.predicts().values()
    assert tally.buckets[-4] == 1  # 1.0 to 2.5 s
    assert 1_000_000_000 < tally.sum_ns < 2_500_000_000
    (line,) = (vars(each) for each in caplog.records if each.message == "request")
    assert line["route"] == "/predict" and line["duration_ms"] > 1_000


def test_the_statistics_have_the_wait_for_a_thread_and_a_small_predict_waits_for_none(
    jobs: JobStore, models: ModelStore
) -> None:
    publish(jobs, "or")
    loaded = loaded_models(models)
    predict = PredictOnLoop(loaded, Limits(), room=None, threads=1)  # type: ignore[arg-type]
    body = b'{"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}'
    head = (
        b"POST /v2/models/or/infer HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    found = predict.read_head(head % len(body))
    assert found is not None

    async def load() -> None:
        await predict.answer_in_thread(found, [body], complete_ns=time.perf_counter_ns() - 5_000_000_000)

    asyncio.run(load())
    waited = loaded.statistics.of("or", 1)
    assert 5_000_000_000 <= waited.queue_ns < 6_000_000_000 and waited.input_ns < 1_000_000_000
    before = loaded.statistics.of("or", 1).queue_ns
    loaded.follow(Ear())
    assert predict.answer_now(found, [body]) is not None
    assert loaded.statistics.of("or", 1).queue_ns == before
