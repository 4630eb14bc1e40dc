"""Python client of Perceptron Service: train small neural networks over HTTP, and predict with them.

    with Client("http://127.0.0.1:8000") as client:
        job = client.jobs.create(model="or", data=([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 1]))
        client.jobs.wait(job)
        print(client.predict("or", [[0, 1]]).predictions)

`AsyncClient` has the same methods. All errors are in `perceptron_client.errors`.
"""

from perceptron_client._async.client import AsyncClient
from perceptron_client._sync.client import Client
from perceptron_client.answers.datasets import Dataset, DatasetColumn
from perceptron_client.answers.jobs import DryRun, Event, Job, JobError, Notice, Progress, Result, Webhook
from perceptron_client.answers.models import Model, Version, VersionSummary
from perceptron_client.answers.predictions import Prediction, VersionOutputs
from perceptron_client.answers.readiness import Readiness
from perceptron_client.errors import (
    ApiError,
    ConnectionFailed,
    JobCancelled,
    JobFailed,
    JobNotDone,
    PerceptronError,
    RequestTimedOut,
)
from perceptron_client.predicting import ArrowAnswer

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "ArrowAnswer",
    "AsyncClient",
    "Client",
    "ConnectionFailed",
    "Dataset",
    "DatasetColumn",
    "DryRun",
    "Event",
    "Job",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "JobNotDone",
    "Model",
    "Notice",
    "PerceptronError",
    "Prediction",
    "Progress",
    "Readiness",
    "RequestTimedOut",
    "Result",
    "Version",
    "VersionOutputs",
    "VersionSummary",
    "Webhook",
]
