"""Tenants: each sees its own jobs, models and data sets, and of the others' not even that they are there."""

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from service.app import create_app
from service.http.caller import SCOPES, Caller
from service.settings import Limits
from storage import keys
from storage.blobs import BlobStore
from storage.datasets.store import DatasetStore
from storage.errors import DatasetNotFoundError, JobNotFoundError, ModelNotFoundError
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.files import files_below
from tests.service.conftest import LIMITS
from worker.deadline import Deadline
from worker.training import run_training

CSV = b"age,plan,y\n31,pro,1\n18,basic,0\n45,pro,1\n20,basic,0\n"
OR = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}
AND = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 0, 0, 1]}


class ByHeader:
    """Stands in for the gate: the tenant is that of a header, so that these tests need no keys."""

    def let_in(self, _need: object, headers: Mapping[bytes, bytes], *, is_look: bool) -> Caller:
        return Caller("test", headers.get(b"x-tenant", b"").decode(), frozenset(SCOPES))


def app_by_header(redis: Redis, blobs: BlobStore, limits: Limits = LIMITS) -> Flask:
    gate: Any = ByHeader()
    app = create_app(redis, blobs, limits, gate=gate)
    app.testing = False
    return app


class Tenant:
    """A client whose requests come from one tenant; the empty name is for none."""

    def __init__(self, app: Flask, name: str, jobs: JobStore, blobs: BlobStore) -> None:
        self.name = name
        self._client = app.test_client()
        self._jobs, self._blobs = jobs, blobs

    def __call__(self, method: str, path: str, **sent: Any) -> Any:
        headers = {"X-Tenant": self.name, **sent.pop("headers", {})}
        return self._client.open(path, method=method, headers=headers, **sent)

    def train(self, model: str, data: Any = OR, **more: Any) -> dict[str, Any]:
        answer = self("POST", "/jobs", json={"model": model, "data": data, **more})
        assert answer.status_code == 202, answer.text
        full_id = f"{self.name}/{answer.json['id']}" if self.name else answer.json["id"]
        attempt = self._jobs.claim(full_id)
        assert attempt is not None
        run_training(
            attempt,
            models=ModelStore(self._jobs._redis),
            blobs=self._blobs,
            deadline=Deadline(),
            stop_requested=lambda: False,
        )
        return dict(self("GET", answer.headers["Location"]).json)

    def predict(self, model: str) -> Any:
        return self("POST", "/predict", json={"model": model, "instances": [[0, 1], [1, 1]]})


@pytest.fixture
def as_tenant(redis: Redis, blobs: BlobStore, jobs: JobStore) -> Callable[[str], Tenant]:
    app = app_by_header(redis, blobs)
    return lambda name: Tenant(app, name, jobs, blobs)


def test_two_tenants_have_a_model_of_the_same_name_each(as_tenant: Callable[[str], Tenant]) -> None:
    acme, bolt, nobody = as_tenant("acme"), as_tenant("bolt"), as_tenant("")
    job = acme.train("gate", OR)
    bolt.train("gate", AND)
    assert (job["model"], job["result"]["version"]) == ("gate", 1)
    assert acme.predict("gate").json["predictions"] == [1, 1]
    assert bolt.predict("gate").json["predictions"] == [0, 1]
    assert {acme.predict("gate").json[name] for name in ("model", "version")} == {"gate", 1}
    missing = nobody.predict("gate")
    assert (missing.status_code, missing.json["detail"]) == (404, "there is no model 'gate'")


def test_lists_show_what_is_ones_own(as_tenant: Callable[[str], Tenant]) -> None:
    shown = {}
    for name in ("acme", "bolt", ""):
        tenant = as_tenant(name)
        job = tenant.train(f"gate-{name or 'nobody'}")
        dataset = tenant("POST", "/datasets", data=CSV, headers={"Content-Type": "text/csv"}).json
        shown[name] = (job["id"], job["model"], dataset["id"])
    for name, (job_id, model, dataset_id) in shown.items():
        tenant = as_tenant(name)
        assert [each["id"] for each in tenant("GET", "/jobs").json["data"]] == [job_id]
        assert [each["id"] for each in tenant("GET", "/jobs?status=succeeded").json["data"]] == [job_id]
        assert [each["id"] for each in tenant("GET", f"/jobs?model={model}").json["data"]] == [job_id]
        assert [each["name"] for each in tenant("GET", "/models").json["data"]] == [model]
        assert [each["id"] for each in tenant("GET", "/datasets").json["data"]] == [dataset_id]
        assert tenant("GET", "/v1/models").json == {"models": [model]}
        assert [each["name"] for each in tenant("POST", "/v2/repository/index").json] == [model]
        assert [each["name"] for each in tenant("GET", "/v2/models/stats").json["model_stats"]] == [model]


def test_the_pages_of_a_list_are_ones_own(as_tenant: Callable[[str], Tenant]) -> None:
    acme, bolt = as_tenant("acme"), as_tenant("bolt")
    own = [acme.train(f"m{k}")["id"] for k in range(3)][::-1]
    foreign = bolt.train("m0")["id"]
    assert acme("GET", "/jobs?limit=2").json["last_id"] == own[1]
    assert [each["id"] for each in acme("GET", f"/jobs?after={own[1]}").json["data"]] == own[2:]
    assert acme("GET", f"/jobs?after={foreign}").status_code == 422
    assert [each["name"] for each in acme("GET", "/models?limit=1&after=m0").json["data"]] == ["m1"]


def operations(app: Flask) -> Iterator[tuple[str, str]]:
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            if re.search(r"<(?!path)", rule.rule) and "unsupported" not in rule.endpoint:
                yield method, rule.rule


@pytest.mark.parametrize(("name", "others"), [("acme", ("bolt", "")), ("", ("acme", "bolt"))])
def test_what_another_tenant_has_is_not_found_on_any_route(
    as_tenant: Callable[[str], Tenant], redis: Redis, blobs: BlobStore, name: str, others: tuple[str, str]
) -> None:
    """Made from the routes of the app, so that a new one cannot be forgotten."""
    owner = as_tenant(name)
    job = owner.train("gate", alias="production")
    dataset = owner("POST", "/datasets", data=CSV, headers={"Content-Type": "text/csv"}).json
    named = {"job_id": job["id"], "dataset_id": dataset["id"], "name": "gate", "version": "1", "alias": "production"}
    infer = {"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP64", "data": [0, 1]}]}
    bodies = {"PUT": {"version": 1}, ":predict": {"instances": [[0, 1]]}, "/infer": infer}
    n_seen = 0
    for method, rule in operations(create_app(redis, blobs, LIMITS)):
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: named[match[1]], rule)
        body = next((body for part, body in bodies.items() if part in (method,) or rule.endswith(part)), None)
        sent = {} if body is None else {"json": body}
        for foreign in map(as_tenant, others):
            answer = foreign(method, path, **sent)
            assert (answer.status_code, answer.json["code"].endswith("_not_found")) == (404, True), (method, rule)
        n_seen += 1
        if method == "GET":
            assert owner(method, path).status_code == 200, (method, rule)
    assert n_seen >= 25
    assert owner("GET", "/models/gate").json["aliases"] == {"production": 1}  # nothing was deleted either


@pytest.mark.parametrize("name", ["acme/gate", "/gate", "acme%2Fgate", "t:acme:model:gate", "../acme/gate"])
def test_no_name_reaches_into_another_tenant(as_tenant: Callable[[str], Tenant], name: str) -> None:
    as_tenant("acme").train("gate")
    instances = {"instances": [[0, 1]]}
    for tenant in (as_tenant(""), as_tenant("bolt"), as_tenant("acme")):
        for answer in (
            tenant("POST", "/predict", json={"model": name, **instances}),
            tenant("POST", f"/predict?model={name}", data="0,1\n", headers={"Content-Type": "text/csv"}),
            tenant("POST", f"/invocations?model={name}", json=instances),
            tenant("POST", "/invocations", json=instances, headers={"X-Amzn-SageMaker-Target-Model": name}),
            tenant("POST", f"/v1/models/{name}:predict", json=instances),
            tenant("GET", f"/models/{name}"),
            tenant("GET", f"/v2/models/{name}/ready"),
            tenant("POST", "/jobs", json={"model": "x", "data": OR, "start_from": {"model": name}}),
            tenant("POST", "/jobs", json={"model": name, "data": OR}),
        ):
            assert answer.status_code in (400, 404, 422), (name, answer.status_code)


def test_no_id_of_a_job_reaches_into_another_tenant(as_tenant: Callable[[str], Tenant]) -> None:
    acme = as_tenant("acme")
    job_id = acme("POST", "/jobs", json={"model": "gate", "data": OR}).json["id"]
    for name in ("", "bolt", "acme"):
        for forged in (f"acme/{job_id}", f"t:acme:job:{job_id}"):
            answer = as_tenant(name)("POST", "/predict", json={"job": forged, "instances": [[0, 1]]})
            assert answer.status_code in (404, 422)
            assert as_tenant(name)("GET", f"/jobs?after={forged}").status_code in (404, 422)
    assert as_tenant("bolt")("POST", "/predict", json={"job": job_id, "instances": [[0, 1]]}).status_code == 404


def test_an_idempotency_key_is_ones_own(as_tenant: Callable[[str], Tenant]) -> None:
    sent = {"json": {"model": "gate", "data": OR}, "headers": {"Idempotency-Key": "k"}}
    ids = [as_tenant(name)("POST", "/jobs", **sent).json["id"] for name in ("acme", "bolt", "", "acme")]
    assert len(set(ids)) == 3 and ids[0] == ids[3]


def test_the_same_file_is_a_data_set_of_each_tenant_that_uploads_it(as_tenant: Callable[[str], Tenant]) -> None:
    def upload(name: str) -> Any:
        return as_tenant(name)("POST", "/datasets", data=CSV, headers={"Content-Type": "text/csv"})

    assert [upload(name).status_code for name in ("acme", "bolt", "bolt")] == [201, 201, 200]
    dataset_id = upload("acme").json["id"]
    assert as_tenant("acme")("DELETE", f"/datasets/{dataset_id}").status_code == 204
    assert as_tenant("acme")("GET", f"/datasets/{dataset_id}").status_code == 404
    assert len(as_tenant("bolt")("GET", f"/datasets/{dataset_id}/rows").json["data"]) == 4


def test_a_job_learns_from_its_tenants_data_set_and_starts_from_its_tenants_version(
    as_tenant: Callable[[str], Tenant],
) -> None:
    acme, bolt = as_tenant("acme"), as_tenant("bolt")
    dataset_id = acme("POST", "/datasets", data=CSV, headers={"Content-Type": "text/csv"}).json["id"]
    wanted = {"model": "plan", "dataset": dataset_id, "target": "y"}
    refused = bolt("POST", "/jobs", json=wanted)
    assert (refused.status_code, refused.json["code"]) == (404, "dataset_not_found")
    queued = acme("POST", "/jobs", json=wanted).json
    assert queued["config"]["dataset"] == dataset_id
    in_use = acme("DELETE", f"/datasets/{dataset_id}")
    assert (in_use.status_code, queued["id"] in in_use.json["detail"]) == (409, True)
    acme.train("gate")
    job = acme.train("gate", start_from={"model": "gate"})
    assert job["config"]["start_from"] == {"model": "gate", "version": 1}
    description = acme("GET", "/models/gate/versions/2").json
    assert (description["model"], description["job"]) == ("gate", job["id"])
    refused = bolt("POST", "/jobs", json={"model": "gate", "data": OR, "start_from": {"model": "gate"}})
    assert (refused.status_code, refused.json["detail"]) == (404, "there is no model 'gate'")


def test_no_answer_names_the_tenant(as_tenant: Callable[[str], Tenant]) -> None:
    tenant = as_tenant("quite-unlike-any-word")
    job = tenant.train("gate", alias="production")
    answers = [
        tenant("GET", f"/jobs/{job['id']}/events"),
        tenant("GET", "/models/gate"),
        tenant("GET", "/models/gate/versions/1"),
        tenant("GET", "/models/gate/versions/7"),
        tenant("DELETE", "/models/gate/versions/1"),
        tenant("POST", f"/jobs/{job['id']}/cancel"),
        tenant("POST", "/predict", json={"job": job["id"], "instances": [[0, 1]]}),
        tenant("POST", "/predict", json={"model": "gate", "instances": [[0, 1]], "versions": "aliases"}),
        tenant("POST", "/predict", json={"model": "gate", "alias": "none", "instances": [[0, 1]]}),
        tenant("GET", "/v1/models/gate/metadata"),
        tenant("GET", "/v1/models/gate"),
        tenant("GET", "/v2/models/gate/config"),
    ]
    text = json.dumps(job) + "".join(answer.text for answer in answers)
    assert "gate" in text and "quite-unlike" not in text


def test_keys_of_a_tenant_have_its_prefix_and_those_of_none_are_as_before() -> None:
    job_id = "job_" + 32 * "0"
    assert keys.job(job_id) == f"perceptron:job:{job_id}"
    assert keys.job(f"acme/{job_id}") == f"perceptron:t:acme:job:{job_id}"
    assert keys.version("churn", 3) == "perceptron:model:churn:version:3"
    assert keys.version("acme/churn", 3) == "perceptron:t:acme:model:churn:version:3"
    assert keys.jobs_with_status("queued", "acme") == "perceptron:t:acme:jobs:queued"


def test_a_name_with_a_slash_is_nobodys() -> None:
    """The patterns of the requests refuse it before; this holds where one is forgotten."""
    nobody = Caller(None, "", frozenset(SCOPES))
    with pytest.raises(ModelNotFoundError):
        nobody.model("acme/gate")
    with pytest.raises(JobNotFoundError):
        nobody.job("acme/job_" + 32 * "0")
    with pytest.raises(DatasetNotFoundError):
        nobody.dataset("acme/ds_" + 32 * "0")


def limited(redis: Redis, blobs: BlobStore, **limits: int) -> FlaskClient:
    return app_by_header(redis, blobs, replace(LIMITS, **limits)).test_client()


def test_one_tenants_full_queue_is_no_others(redis: Redis, blobs: BlobStore) -> None:
    http = limited(redis, blobs, max_tenant_queued_jobs=2)

    def post(tenant: str) -> Any:
        return http.post("/jobs", json={"model": "gate", "data": OR}, headers={"X-Tenant": tenant})

    assert [post("acme").status_code for _ in range(3)] == [202, 202, 429]
    refused = post("acme")
    assert (refused.json["code"], int(refused.headers["Retry-After"]) >= 1) == ("rate_limited", True)
    assert "2 jobs wait" in refused.json["detail"] and "MAX_TENANT_QUEUED_JOBS" in refused.json["detail"]
    assert post("bolt").status_code == post("").status_code == 202


def stored_bytes(redis: Redis, blobs: BlobStore) -> int:
    """How large the table becomes in the blob store: larger than its short text."""
    http = app_by_header(redis, blobs).test_client()
    answer = http.post("/datasets", data=CSV, headers={"X-Tenant": "scales", "Content-Type": "text/csv"})
    return DatasetStore(redis).get(f"scales/{answer.json['id']}").n_stored_bytes


def test_what_is_refused_for_a_limit_leaves_no_blob(redis: Redis, blobs: BlobStore, tmp_path: Path) -> None:
    http = limited(redis, blobs, max_tenant_queued_jobs=1, max_tenant_dataset_bytes=stored_bytes(redis, blobs))
    http.post("/jobs", json={"model": "gate", "data": OR})
    http.post("/datasets", data=CSV, headers={"Content-Type": "text/csv"})
    before = files_below(tmp_path)
    assert http.post("/jobs", json={"model": "gate", "data": AND}).status_code == 429
    assert http.post("/datasets", data=CSV + b"1,pro,0\n", headers={"Content-Type": "text/csv"}).status_code == 413
    assert files_below(tmp_path) == before


def test_a_small_file_with_a_large_table_counts_as_it_is_stored(redis: Redis, blobs: BlobStore, tmp_path: Path) -> None:
    # 20,000 numbers five times over: too far apart for the compression of the blob store, so 8 bytes for each
    file = io.BytesIO()
    table = pa.table({"x": np.resize(np.random.default_rng(0).normal(size=20_000), 100_000)})
    pq.write_table(table, file, compression="zstd", use_dictionary=True)
    assert len(file.getvalue()) < 400_000
    http = limited(redis, blobs, max_tenant_dataset_bytes=500_000)
    headers = {"X-Tenant": "acme", "Content-Type": "application/vnd.apache.parquet"}
    refused = http.post("/datasets", data=file.getvalue(), headers=headers)
    assert (refused.status_code, refused.json["code"]) == (413, "too_large")
    n_bytes = int(refused.json["detail"].split(" take ")[1].split(" bytes")[0].replace(",", ""))
    assert 800_000 < n_bytes < 810_000
    assert files_below(tmp_path) == []


def test_a_tenants_data_sets_have_a_limit_together(redis: Redis, blobs: BlobStore) -> None:
    size = stored_bytes(redis, blobs)
    http = limited(redis, blobs, max_tenant_dataset_bytes=2 * size)

    def upload(tenant: str, more: bytes) -> Any:
        headers = {"X-Tenant": tenant, "Content-Type": "text/csv"}
        return http.post("/datasets", data=CSV.replace(b"age", more), headers=headers)

    assert [upload("acme", name).status_code for name in (b"aga", b"agb", b"agc")] == [201, 201, 413]
    refused = upload("acme", b"agd")
    assert f"{2 * size + len(CSV):,} bytes of at most {2 * size:,} (MAX_TENANT_DATASET_BYTES)" in refused.json["detail"]
    assert refused.json["code"] == "too_large"
    assert upload("bolt", b"agd").status_code == 201
    one = upload("acme", b"aga").json["id"]  # there already
    assert http.delete(f"/datasets/{one}", headers={"X-Tenant": "acme"}).status_code == 204
    assert upload("acme", b"agd").status_code == 201
