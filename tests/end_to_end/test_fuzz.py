"""Requests made up from the OpenAPI document, good ones and bad ones, on the process that is shipped, with access keys.

More than 10,000 of them: `./run test tests/end_to_end/test_fuzz.py --times 40 -s`.
"""

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from storage.access.store import AccessKeyStore
from storage.connection import connect
from storage.models.store import ModelStore
from tests.api_process import Api
from tests.builders import claimed, publish
from tests.faults.rig import children_of, memory_mb

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
REQUESTS_AT_A_TIME = 5
ACCESS = {"authorization", "x-api-key"}

ODD_HEADERS = {
    "Accept": ["application/json", "text/csv;q=0.5, */*;q=0.1", "application/x-npy", "image/png", ";q=x,", "\xff"],
    "Accept-Encoding": ["gzip", "deflate;q=1, gzip;q=0", "*;q=0", "br"],
    "Content-Encoding": ["gzip", "identity", "br", "gzip, gzip"],
    "Content-Type": [
        "application/json; charset=utf-16",
        "APPLICATION/Vnd.a+JSON",
        "text/html",
        ";",
        "text/csv; header=\xff",
    ],
    "Inference-Header-Content-Length": ["1", "-1", "1e3", "99999999999999999999"],
    "If-None-Match": ["*", 'W/"1"', ","],
    "Prefer": ["wait=0", "wait=x", "respond-async"],
    "X-Request-Id": ["a b", "\xe9", "x" * 200],
}
HEADERS = st.fixed_dictionaries({}, optional={name: st.sampled_from(odd) for name, odd in ODD_HEADERS.items()})

schemathesis.serializer.alias(["text/csv", "application/jsonlines"], "text/plain")
schemathesis.serializer.alias("application/x-npy", "application/octet-stream")


@st.composite
def cases(draw: st.DrawFn, operation: Any, known: Mapping[str, Any], examples: list[tuple[str, Any]]) -> Case:
    """Requests as the document allows or forbids them; some about what exists, some with the body that it shows."""
    case = draw(operation.as_strategy(generation_mode=draw(st.sampled_from(GenerationMode))))
    if draw(st.booleans()):
        case.path_parameters |= {name: known[name] for name in case.path_parameters if name in known}
    if draw(st.booleans()):
        case.query = {name: known["name"] for name in ["model"] if name in operation.query}
    if examples and draw(st.booleans()):
        case.media_type, body = draw(st.sampled_from(examples))
        case.body = copy.deepcopy(body)
        if "dry_run" in operation.query:  # else few of so many members would leave a job to accept
            case.query, case.headers = {}, {}
    elif isinstance(case.body, dict) and "model" in case.body and draw(st.booleans()):
        case.body = {**case.body, "model": known["name"]}
    return case


def test_what_the_document_does_not_say_never_happens(api: Api, pytestconfig: Any) -> None:
    document = api.http.get("/openapi.json").json()
    operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
    operations.sort(key=lambda operation: operation.method == "delete")
    redis = connect(api.server.url, timeout_s=5, n_retries=1)
    models = ModelStore(redis)
    texts = keys_of_callers(AccessKeyStore(redis))
    callers = headers_of_callers(*texts)
    n_by_status, failures = Counter[int](), dict[str, str]()
    (pid,), before_mb = children_of(api.process.pid), 0
    with requests.Session() as session:
        for n_done, operation in enumerate(operations):
            if n_done == len(operations) // 4:  # what every process takes once is taken
                before_mb = memory_mb(pid)
            version = publish(api.jobs)
            models.set_alias("or", "production", version)
            job_id = claimed(api.jobs).job.id
            known = {"name": "or", "version": version, "alias": "production", "job_id": job_id}

            def fuzz(case: Case, headers: dict[str, str], caller: dict[str, str]) -> None:
                # What schemathesis makes up for the schemes of security would be a key that nobody has.
                case.headers = {name: v for name, v in (case.headers or {}).items() if name.lower() not in ACCESS}
                answer = case.call(base_url=api.url, session=session, timeout=20, headers=headers | caller)
                n_by_status[answer.status_code] += 1
                case.validate_response(answer, checks=CHECKS)
                if answer.status_code >= 400:
                    assert answer.headers["content-type"] == ["application/problem+json"]
                    assert answer.json()["error"] == answer.json()["detail"]

            examples = examples_in(document, operation.path, operation.method)
            n_times = REQUESTS_AT_A_TIME * pytestconfig.getoption("--times")
            if operation.path == "/jobs":
                n_times *= 3  # few of so many members make a job to accept
            try:
                repeatedly(n_times, fuzz, cases(operation, known, examples), st.just({}) | HEADERS, callers)
            except (Exception, FailureGroup) as error:
                failures[operation.label] = str(error)
    grown_mb = memory_mb(pid) - before_mb
    print(
        f"{n_by_status.total()} requests to {len(operations)} routes, by status: {dict(sorted(n_by_status.items()))};"
    )
    print(f"the process grew by {grown_mb} MB")
    assert children_of(api.process.pid) == [pid], "the process died"
    assert grown_mb < 50
    log = api.log.read_text()
    print(f"{len(log.splitlines())} lines of log")
    assert not [text for text in texts if text.split("_", 2)[2] in log], "a key is in the log"
    assert not failures, "\n\n".join(f"{label}: {text}" for label, text in failures.items())
    assert {200, 202, 204, 401, 403, 404, 406, 422} <= set(n_by_status)


def keys_of_callers(store: AccessKeyStore) -> tuple[str, str, str]:
    """Keys that may do everything, everything of a tenant, and read."""
    _, all_of_it = store.create(["admin"])
    _, of_tenant = store.create(["admin"], tenant="acme")
    _, reads = store.create(["read"])
    return all_of_it, of_tenant, reads


def headers_of_callers(all_of_it: str, of_tenant: str, reads: str) -> st.SearchStrategy[dict[str, str]]:
    """Headers, most with the key that may do everything; others with a key of a tenant, of one scope, bad, or none."""
    given = [f"Bearer {text}" for text in (*[all_of_it] * 6, of_tenant, reads, all_of_it[:-1])]
    return st.sampled_from([*({"Authorization": each} for each in given), {"X-API-Key": all_of_it}, {}])


def examples_in(document: Mapping[str, Any], path: str, method: str) -> list[tuple[str, Any]]:
    """The bodies that the document shows, by media type."""
    forms = document["paths"][path][method].get("requestBody", {}).get("content", {})
    shown = []
    for media_type, form in forms.items():
        schema = form["schema"]
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        example = form.get("example", schema.get("example"))
        if example is not None:
            shown.append((media_type, example))
    return shown


def repeatedly(n_times: int, test: Callable[..., None], *given_what: st.SearchStrategy[Any]) -> None:
    settled = settings(max_examples=n_times, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    seed(0)(settled(given(*given_what)(test)))()
