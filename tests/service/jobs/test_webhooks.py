"""The member `webhook` of `POST /jobs` and of a job."""

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate
from redis import Redis

from service.app import create_app
from storage.blobs import BlobStore
from storage.webhooks.settings import WebhookSettings
from tests.receiver import SECRET
from tests.service.conftest import LIMITS

OR = {"model": "or", "data": {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}}
URL = "https://hooks.example.com/perceptron"


@pytest.fixture
def http(redis: Redis, blobs: BlobStore) -> FlaskClient:
    settings = WebhookSettings.from_env({"WEBHOOK_SECRET": SECRET, "WEBHOOK_HOSTS": "hooks.example.com"})
    app = create_app(redis, blobs, LIMITS, webhooks=settings)
    app.testing = False
    return app.test_client()


def test_a_job_shows_its_webhook_and_one_without_shows_null(http: FlaskClient) -> None:
    job = http.post("/jobs", json=OR | {"webhook": {"url": URL}}).get_json()
    assert job["webhook"] == {"url": URL, "delivered_at": None, "attempts": 0, "last_error": None}
    assert http.get(f"/jobs/{job['id']}").get_json()["webhook"] == job["webhook"]
    assert http.get("/jobs").get_json()["data"][0]["webhook"] == job["webhook"]
    assert http.post("/jobs", json=OR).get_json()["webhook"] is None


REFUSED: list[tuple[object, str, str]] = [
    ({"url": "https://evil.example/"}, "/webhook/url", "must name a host and port that WEBHOOK_HOSTS allows"),
    ({"url": "http://hooks.example.com/"}, "/webhook/url", "must begin with https://"),
    ({"url": "https://u:p@hooks.example.com/"}, "/webhook/url", "must name no user"),
    ({"url": "https://2130706433/"}, "/webhook/url", "must name its host by a name, not by a number"),
    ({"url": ""}, "/webhook/url", ""),
    ({"url": 7}, "/webhook/url", ""),
    ({}, "/webhook/url", "Field required"),
    ({"url": URL, "secret": "x"}, "/webhook/secret", ""),
    (URL, "/webhook", ""),
]


def test_a_webhook_that_is_not_allowed_is_refused_and_leaves_no_job(http: FlaskClient) -> None:
    for webhook, pointer, detail in REFUSED:
        for query in ("", "?dry_run=true"):
            answer = http.post(f"/jobs{query}", json=OR | {"webhook": webhook})
            assert answer.status_code == 422, webhook
            (fault,) = answer.get_json()["errors"]
            assert fault["pointer"] == pointer and fault["detail"].startswith(detail)
    assert http.get("/jobs").get_json()["data"] == []


@pytest.mark.parametrize(("env", "setting"), [({}, "WEBHOOK_SECRET"), ({"WEBHOOK_SECRET": SECRET}, "WEBHOOK_HOSTS")])
def test_where_webhooks_are_off_the_error_names_the_setting(
    redis: Redis, blobs: BlobStore, env: dict[str, str], setting: str
) -> None:
    http = create_app(redis, blobs, LIMITS, webhooks=WebhookSettings.from_env(env)).test_client()
    answer = http.post("/jobs", json=OR | {"webhook": {"url": URL}})
    assert answer.status_code == 422 and setting in answer.get_json()["errors"][0]["detail"]


def test_a_repeated_request_with_another_webhook_is_another_request(http: FlaskClient) -> None:
    headers = {"Idempotency-Key": "one"}
    first = http.post("/jobs", json=OR | {"webhook": {"url": URL}}, headers=headers).get_json()
    again = http.post("/jobs", json=OR | {"webhook": {"url": URL}}, headers=headers).get_json()
    assert again["id"] == first["id"]
    other = http.post("/jobs", json=OR | {"webhook": {"url": f"{URL}/2"}}, headers=headers)
    assert other.get_json()["code"] == "idempotency_key_reused"


def test_openapi_describes_the_event(http: FlaskClient) -> None:
    document = http.get("/openapi.json").get_json()
    validate(document)
    operation = document["webhooks"]["job.ended"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    event = document["components"]["schemas"][body.rpartition("/")[2]]
    assert event["properties"]["type"]["enum"] == ["job.succeeded", "job.failed", "job.cancelled"]
    assert event["properties"]["data"]["$ref"].endswith("/JobPayload")
    named = [parameter["name"] for parameter in operation["parameters"]]
    assert named == ["webhook-id", "webhook-timestamp", "webhook-signature"]
    assert set(operation["responses"]) == {"2XX", "410"}
