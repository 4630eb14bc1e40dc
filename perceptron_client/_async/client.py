"""The client: what it is made of, and predict."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from perceptron_client._async.datasets import AsyncDatasets
from perceptron_client._async.http import AsyncHttp
from perceptron_client._async.jobs import AsyncJobs
from perceptron_client._async.models import AsyncModels
from perceptron_client.answers.predictions import Prediction, joined
from perceptron_client.answers.readiness import Readiness
from perceptron_client.errors import ApiError, Invalid, WrongDimension
from perceptron_client.predicting import ArrowAnswer, Part, Reference, arrow_answer_of, arrow_call, parts_of
from perceptron_client.requests import Call, Settings


class AsyncClient:
    """Perceptron Service, over HTTP. A context manager, which closes its connections.

    Args:
        base_url: the address of the service; None: PERCEPTRON_URL, else http://127.0.0.1:8000.
        api_key: None: PERCEPTRON_API_KEY, or what the file PERCEPTRON_API_KEY_FILE holds, else none is sent.
        timeout_s: for connecting, and between two parts of an answer.
        retry_for_s: how long a call is repeated while the service is refusing connections, busy or unavailable. 0: it
            is never repeated. Only what has the same effect when it comes twice is repeated.
        transport: instead of that of httpx, for tests.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retry_for_s: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = AsyncHttp(Settings.of(base_url, api_key, timeout_s=timeout_s, retry_for_s=retry_for_s), transport)
        self.jobs = AsyncJobs(self._http)
        self.datasets = AsyncDatasets(self._http)
        self.models = AsyncModels(self._http)

    @property
    def base_url(self) -> str:
        """The address of the service."""
        return self._http.settings.base_url

    async def predict(
        self,
        model: str | None,
        rows: Any,
        *,
        version: int | None = None,
        alias: str | None = None,
        job: str | None = None,
        explain: bool = False,
        versions: Sequence[int] | Literal["aliases"] | None = None,
    ) -> Prediction:
        """Run rows through a model, now.

        Args:
            rows: a list of lists or of dicts, one dict, an array (n_instances, n_features) or (n_features,), a data
                frame, or an Arrow table. More than 100,000 rows, or 2,000,000 values, take several requests, which one
                version answers.
            version, alias: which version; None: the latest.
            job: instead of a model (None): the best network so far of a job.
            explain: add what each feature contributes.
            versions: compare versions: their numbers, or `"aliases"`.

        Raises:
            ApiError: the service refused; for rows that do not fit Invalid, whose `errors` point at them.
        """
        reference = Reference(model, version, alias, job, explain, versions)
        found: list[Prediction] = []
        for part in parts_of(rows, reference):
            if len(found) == 1:
                reference = reference.pinned(found[0])
            try:
                found.append(await self._predict(part, reference))
            except ApiError as error:
                if part.start == 0:
                    raise
                raise part.moved(error) from error
        return joined(found)

    async def _predict(self, part: Part, reference: Reference) -> Prediction:
        try:
            response = await self._http.send(part.call(reference))
        except WrongDimension:
            other = part.other_format(reference)
            if other is None:
                raise
            try:
                return await self._predict(other, reference)
            except Invalid:
                pass
            raise
        prediction = part.read(response)
        if prediction is None:  # it has warnings, and this format has no place for them
            same = reference.at_version(int(response.headers["x-model-version"]))
            prediction = part.read(await self._http.send(part.call(same, in_json=True)))
            assert prediction is not None
        return prediction

    async def predict_arrow(self, model: str, table: Any, *, version: int | None = None) -> ArrowAnswer:
        """Run an Arrow table or record batch through a model: the fastest way to predict for many rows. Needs pyarrow.

        Args:
            table: at most 100,000 rows, which take one request.
            version: None: the latest.

        Raises:
            ApiError: the service refused; for rows that do not fit Invalid, whose `errors` point at them.
        """
        return arrow_answer_of(await self._http.send(arrow_call(model, table, version)))

    async def ready(self) -> Readiness:
        """Return whether the service can do its work now, and why not. Nothing is repeated."""
        call = Call("GET", "/readyz", accepts=frozenset({503}), retry_for_s=0.0)
        return Readiness.of(await self._http.json(call))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._http.settings.shown_url!r})"
