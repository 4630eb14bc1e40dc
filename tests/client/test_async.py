"""AsyncClient: the same methods, against the running service."""

import asyncio
import inspect
import io
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perceptron_client import AsyncClient, Client, ConnectionFailed, JobCancelled
from perceptron_client.errors import InvalidArgument, ModelNotFound, RaggedRow
from tests.client import generate
from tests.faults.proxy import Proxy
from tests.free_port import free_port
from tests.stack import Stack

from .conftest import LINE, ONE_STEP

CSV = b"a,b\n1,2\n3,4\n"


def run(stack: Stack, test: Callable[[AsyncClient], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with AsyncClient(stack.url, retry_for_s=20) as client:
            await test(client)

    asyncio.run(main())


def surface(client: object) -> dict[str, str]:
    parts = {"": client} | {name: getattr(client, name) for name in ("jobs", "datasets", "models")}
    return {
        f"{room}.{name}": ",".join(inspect.signature(method).parameters)
        for room, part in parts.items()
        for name, method in inspect.getmembers(part, callable)
        if not name.startswith("_")
    }


def test_both_clients_have_the_same_methods_with_the_same_arguments():
    assert surface(Client("http://service")) == surface(AsyncClient("http://service"))
    assert len(surface(Client("http://service"))) == 23


def test_the_sync_half_is_what_the_generator_writes():
    assert generate.committed() == generate.generated()
    assert all(text.startswith(generate.HEADER) for text in generate.committed().values())


def test_jobs_and_predict(stack: Stack):
    async def test(client: AsyncClient) -> None:
        assert (await client.jobs.dry_run(model="async", data=LINE)).n_features == 2
        job = await client.jobs.create(model="async", data=LINE, training=ONE_STEP, alias="live")
        done = await client.jobs.wait(job, progress=True)
        assert done.version == 1 and (await client.jobs.get(job.id)) == done
        live = [event async for event in client.jobs.events(job.id)]
        assert live == [event async for event in client.jobs.events(job.id, follow=False)] and live[-1].ends_the_job
        assert [each.id async for each in client.jobs.list(model="async")] == [job.id]
        long = {"optimizer": "gradient_descent", "tolerance": 0, "max_epochs": 1_000_000, "learning_rate": 1e-3}
        other = await client.jobs.create(model="async", data=LINE, training=long)
        assert (await client.jobs.cancel(other.id)).status == "cancelled"
        with pytest.raises(JobCancelled):
            await client.jobs.wait(other.id)
        with pytest.raises(InvalidArgument, match="give the events"):
            job.plot()
        prediction = await client.predict("async", np.array([[2.0, 1.0]] * 3_000), alias="live")
        np.testing.assert_allclose(prediction.outputs, [[0.38]] * 3_000, rtol=1e-12)
        assert (await client.ready()).is_ready and client.base_url == stack.url

    run(stack, test)


def test_datasets(stack: Stack, tmp_path: Path):
    path = tmp_path / "rows.csv"
    path.write_bytes(CSV * 100_000)

    async def test(client: AsyncClient) -> None:
        dataset = await client.datasets.upload(CSV + b"9,9\n", media_type="text/csv", name="async")
        assert (await client.datasets.rows(dataset.id, 1)) == [{"a": 1.0, "b": 2.0}]
        assert (await client.datasets.get(dataset.id)) == dataset
        assert dataset.id in [each.id async for each in client.datasets.list()]
        await client.datasets.delete(dataset.id)
        assert (await client.datasets.upload(io.BytesIO(CSV), media_type="text/csv")).rows == 2
        large = await client.datasets.upload(path, progress=True, types={"a": "categorical", "b": "categorical"})
        assert (large.name, large.rows, large.columns[0].categories) == ("rows.csv", 299_999, ["1", "3", "a"])
        with pytest.raises(RaggedRow):
            await client.datasets.upload(b"a,b\n1\n", media_type="text/csv")

    run(stack, test)


def test_models(stack: Stack, line: str):
    async def test(client: AsyncClient) -> None:
        await client.jobs.wait(await client.jobs.create(model="others", data=LINE, training=ONE_STEP))
        assert (await client.models.set_alias("others", "live", 1)).aliases == {"live": 1}
        assert (await client.models.version("others", "live")).version == 1
        assert {"others", line} <= {each.name async for each in client.models.list()}
        await client.models.delete_alias("others", "live")
        await client.models.delete_version("others", 1)
        await client.jobs.wait(await client.jobs.create(model="others", data=LINE, training=ONE_STEP))
        await client.models.delete("others")
        with pytest.raises(ModelNotFound):
            await client.models.get("others")

    run(stack, test)


def test_many_predictions_at_once_share_the_connections(stack: Stack, line: str):
    async def test(client: AsyncClient) -> None:
        answers = await asyncio.gather(*(client.predict(line, [[k, 0]]) for k in range(200)))
        np.testing.assert_allclose([each.outputs[0, 0] for each in answers], [0.14 * k + 0.06 for k in range(200)])

    run(stack, test)


def test_a_stream_that_is_cut_is_resumed(stack: Stack):
    async def main() -> None:
        with Proxy(stack.port) as proxy:
            async with AsyncClient(f"http://127.0.0.1:{proxy.port}", retry_for_s=20) as client:
                settings = {"optimizer": "gradient_descent", "tolerance": 0, "max_epochs": 60_000}
                job = await client.jobs.create(model="cut", data=LINE, training={**settings, "learning_rate": 1e-3})
                seen = []
                async with aclosing(client.jobs.events(job.id)) as events:
                    async for event in events:
                        seen.append(event)
                        if len(seen) == 3:
                            await asyncio.to_thread(proxy.cut)
                            await asyncio.to_thread(proxy.open)
                kept = [event async for event in client.jobs.events(job.id, follow=False)]
        assert [event.id for event in seen] == [event.id for event in kept] and len(seen) > 3

    asyncio.run(main())


def test_a_refused_connection_is_ours_and_pythons():
    async def main() -> None:
        async with AsyncClient(f"http://127.0.0.1:{free_port()}", retry_for_s=0.2) as client:
            with pytest.raises(ConnectionFailed, match="tries"):
                await client.models.get("any")

    asyncio.run(main())
