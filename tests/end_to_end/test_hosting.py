"""What the clients of other protocols ask, on the process that is shipped: the event loop and the Flask app alike."""

import io
import json
import re
from typing import Any

import httpx
import numpy as np
import pytest

from tests.api_process import Api
from tests.builders import publish

OR = "/v1/models/or"
ROWS = {"instances": [[0.5, -1.5], [1, 2]]}
JSON = "application/json"


def npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(values, dtype=float))
    return file.getvalue()


REQUESTS: list[tuple[str, Any, dict[str, str]]] = [
    (f"{OR}:predict", ROWS, {}),
    (f"{OR}:predict", ROWS, {"Content-Type": "application/x-www-form-urlencoded"}),
    (f"{OR}/versions/1:predict", ROWS, {}),
    (f"{OR}/labels/production:predict", {"inputs": {"x0": [1], "x1": [2]}}, {}),
    (f"{OR}:predict", {"instances": [[1, 2]] * 5000}, {}),
    (f"{OR}/versions/7:predict", ROWS, {}),
    (f"{OR}/labels/nope:predict", ROWS, {}),
    ("/v1/models/nope:predict", ROWS, {}),
    (f"{OR}:predict", {"instances": [[1, 2, 3]]}, {}),
    (f"{OR}:predict", b'{"instances": [[1, NaN]]}', {}),
    (f"{OR}:predict", b" ", {}),
    (f"{OR}:predict", ROWS, {"Content-Type": "text/csv"}),
    (f"{OR}:predict", ROWS, {"Accept": "text/csv"}),
    ("/invocations?model=or", ROWS, {}),
    ("/invocations?model=or%40production", ROWS, {"Accept": "text/csv"}),
    ("/invocations", {"dataframe_split": {"columns": ["x1", "x0"], "data": [[2, 1]]}},
     {"X-Amzn-SageMaker-Target-Model": "or/1"}),
    ("/invocations?model=or", b"1,2\n3,4\n", {"Content-Type": "text/csv", "Accept": "application/jsonlines"}),
    ("/invocations?model=or", b"x1,x0\n" + b"1,2\n" * 5000, {"Content-Type": "text/csv"}),
    ("/invocations?model=or", b'{"features": [1, 2]}\n', {"Content-Type": "application/jsonlines"}),
    ("/invocations?model=or", npy([[1, 2], [3, 4]]), {"Content-Type": "application/x-npy",
                                                       "Accept": "application/x-npy"}),
    ("/invocations?model=or", npy(np.ones((5000, 2))), {"Content-Type": "application/x-npy"}),
    ("/invocations?model=or", npy([[1, np.nan]]), {"Content-Type": "application/x-npy"}),
    ("/invocations?model=or", b"1,two\n", {"Content-Type": "text/csv"}),
    ("/invocations?model=nope", ROWS, {}),
    ("/invocations?model=\xe4", ROWS, {}),
    ("/invocations", ROWS, {}),
    ("/invocations?model=or", {}, {}),
    ("/invocations?model=or", ROWS, {"Content-Type": "image/png"}),
    ("/invocations?model=or", ROWS, {"Content-Encoding": "gzip"}),
]  # fmt: skip


def shown(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """All that must be the same: not the time of day, and not how long it took."""
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    assert re.fullmatch(r"predict;dur=\d+\.\d{3}", headers.pop("server-timing"))
    return answer.status_code, headers, answer.content


def test_the_event_loop_and_the_flask_app_answer_alike(api: Api) -> None:
    publish(api.jobs, weight=0.3, alias="production"), publish(api.jobs, weight=0.7)
    statuses = set()
    for number, (path, body, headers) in enumerate(REQUESTS):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": JSON, "X-Request-Id": f"request-{number}", **headers}
        # A slash at the end is the same route to Flask, and one that the event loop leaves to it.
        route, _, query = path.partition("?")
        on_loop, by_flask = (
            shown(api.http.post(f"{route}{slash}?{query}", content=content, headers=headers)) for slash in ("", "/")
        )
        assert on_loop == by_flask, (path, body)
        assert on_loop[1]["x-request-id"] == f"request-{number}"
        statuses.add(on_loop[0])
    assert statuses == {200, 400, 404, 406, 415, 422}


@pytest.mark.parametrize("path", [f"{OR}:predict", "/invocations"])
def test_other_methods_are_refused(api: Api, path: str) -> None:
    answer = api.http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_a_platform_finds_the_process_ready(api: Api) -> None:
    publish(api.jobs)
    for path in ("/ping", "/health", "/version", "/v1/models", OR, f"{OR}/versions/1", f"{OR}/metadata"):
        assert api.http.get(path).status_code == 200
