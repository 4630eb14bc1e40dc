"""The clients of all estimators of a process, and models that live as long as their estimator."""

from __future__ import annotations

import atexit
import os
import weakref
from contextlib import suppress
from functools import cache
from typing import Any, TypeAlias
from uuid import uuid4

from perceptron_client._sync.client import Client
from perceptron_client.errors import PerceptronError
from perceptron_client.requests import key_of_environment

Deletion: TypeAlias = "weakref.finalize[..., Any]"


def client_of(base_url: str | None) -> Client:
    """Return the client for an address; None: PERCEPTRON_URL. The key is that of the environment now."""
    # After a fork, parent and child must not share a connection.
    return _client(os.getpid(), base_url or os.environ.get("PERCEPTRON_URL"), key_of_environment())


@cache
def _client(_pid: int, base_url: str | None, api_key: str | None) -> Client:
    client = Client(base_url, api_key)
    atexit.register(client.close)
    return client


def new_name() -> str:
    """Return a name for the model of one fit."""
    return f"sklearn-{uuid4().hex[:16]}"


def delete_with(estimator: Any, base_url: str | None, model: str) -> Deletion:
    """Delete the model when the estimator is garbage collected, at the latest when the process ends."""
    return weakref.finalize(estimator, _delete, os.getpid(), base_url, model)


def _delete(pid: int, base_url: str | None, model: str) -> None:
    """Delete a model, unless this is a child of the process whose estimator it belongs to."""
    if os.getpid() != pid:
        return
    # A garbage collection must not wait for a service that is away, and may interrupt a call of the shared client.
    with suppress(PerceptronError), Client(base_url, timeout_s=5, retry_for_s=0) as client:
        client.models.delete(model)
