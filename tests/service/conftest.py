"""The Flask app on a real Redis, and a way to train without waiting for a worker process."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from service.app import create_app
from service.settings import Limits
from storage.blobs import BlobStore
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from worker.deadline import Deadline
from worker.training import run_training

LIMITS = Limits(
    max_body_bytes=1_100_000,
    max_inline_values=1_000,
    max_predict_instances=50,
    max_epochs=2_000,
    max_parameters=20_000,
)


@pytest.fixture(autouse=True)
def every_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what other tests have reported in the last minute."""
    monkeypatch.setattr("storage.alarm._said_at_s", {})


@pytest.fixture
def http(redis: Redis, blobs: BlobStore) -> FlaskClient:
    app = create_app(redis, blobs, LIMITS)
    app.testing = False  # errors are answered, as in production
    return app.test_client()


@pytest.fixture
def train(http: FlaskClient, jobs: JobStore, blobs: BlobStore) -> Callable[..., Any]:
    """Post a job, train it in this process, and return the job as the API shows it."""

    def train(body: dict[str, Any], **sent: Any) -> Any:
        answer = http.post("/jobs", json=body, **sent)
        assert answer.status_code == 202, answer.text
        attempt = jobs.claim(answer.get_json()["id"])
        assert attempt is not None
        run_training(
            attempt,
            models=ModelStore(jobs._redis),
            blobs=blobs,
            deadline=Deadline(),
            stop_requested=lambda: False,
        )
        return http.get(answer.headers["Location"]).get_json()

    return train
