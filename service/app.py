"""The Flask app: every route, built from its parts."""

from collections.abc import Callable

from flask import request
from flask_openapi3 import Info, OpenAPI
from redis import Redis
from werkzeug.routing import BaseConverter

from service.access.flask_admission import caller_of
from service.access.gate import Gate
from service.access.openapi import add_security
from service.console.routes import docs_routes
from service.datasets.routes import dataset_routes
from service.http.flask_requests import ROOM, json_request, register_request_checks, register_store_checks
from service.http.flask_responses import register_error_handlers
from service.http.parsing import invalid_request
from service.http.problem import Problem
from service.http.room import Room
from service.jobs.openapi import add_webhooks
from service.jobs.routes import job_routes
from service.models.routes import model_routes
from service.observe.metrics.metrics import Metrics
from service.observe.metrics.routes import PATH as METRICS_PATH
from service.observe.metrics.routes import metrics_routes
from service.observe.payloads import ALIVE
from service.observe.routes import health_routes
from service.predict.memory.loaded_models import LoadedModels
from service.predict.protocols.hosting.routes import hosting_routes
from service.predict.protocols.open_inference.routes import open_inference_routes
from service.predict.protocols.table import CONVERTERS, PREDICT, PROTOCOLS
from service.predict.protocols.tensorflow.routes import tensorflow_routes
from service.predict.routes import predict_routes
from service.settings import Limits
from storage.availability import as_unavailable
from storage.blobs import BlobStore
from storage.circuit_breaker import CircuitBreaker
from storage.datasets.store import DatasetStore
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.queue import TrainingQueue
from storage.webhooks.settings import WebhookSettings

API_VERSION = "0.1.0"
"""The version of the project; a test compares it with `pyproject.toml`."""

METRICS = "perceptron-metrics"
"""The app's `Metrics`, among its extensions."""


def create_app(
    redis: Redis,
    blobs: BlobStore,
    limits: Limits,
    loaded_models: LoadedModels | None = None,
    check_store: Callable[[], object] | None = None,
    check_blobs: Callable[[], None] = lambda: None,
    room: Room | None = None,
    gate: Gate | None = None,
    webhooks: WebhookSettings | None = None,
) -> OpenAPI:
    """Build the service from its parts. Reads no environment, opens no socket.

    Args:
        loaded_models: the versions in memory, when something else uses them, too.
        room: what all requests take together, when something else counts, too.
        check_store: raises if Redis is away or was replaced; by default it only asks whether Redis answers.
        check_blobs: raises if the blob store cannot be used.
        gate: who comes in; None: everybody, for everything.
        webhooks: who may be told the end of a job; None: nobody.
    """
    app = OpenAPI(
        __name__,
        info=Info(
            title="Perceptron Service",
            version=API_VERSION,
            description="Train small neural networks over HTTP and predict with them in real time.",
        ),
        validation_error_callback=_refuse,
        validation_error_model=Problem,
        operation_id_callback=lambda *, name, **_: name,
        security_schemes={},
        doc_ui=False,
        static_folder=None,
    )
    app.request_class = json_request(limits)
    app.extensions[ROOM] = room or Room()
    for name, regex in CONVERTERS.items():
        app.url_map.converters[name] = type(name, (BaseConverter,), {"regex": regex})
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    queue = TrainingQueue(redis)
    models = ModelStore(redis)
    jobs = JobStore(redis, queue)
    datasets = DatasetStore(redis)
    loaded_models = loaded_models or LoadedModels(models, jobs, CircuitBreaker(as_unavailable))
    register_error_handlers(app, loaded_models.breaker)
    app.register_api(job_routes(jobs, models, datasets, blobs, limits, check_blobs, webhooks or WebhookSettings()))
    app.register_api(dataset_routes(datasets, blobs, limits, check_blobs))
    app.register_api(model_routes(models))
    app.register_api(predict_routes(loaded_models, limits))
    app.register_api(open_inference_routes(redis, models, loaded_models, limits, version=API_VERSION))
    app.register_api(tensorflow_routes(models, loaded_models, limits))
    app.register_api(hosting_routes(loaded_models, limits, version=API_VERSION))
    app.register_api(health_routes(redis, queue, loaded_models.check_ready))
    check_store = check_store or redis.ping

    def check_ready() -> None:
        check_store()
        loaded_models.check_ready()

    metrics = Metrics(
        loaded_models.traffic,
        redis,
        protocols=PROTOCOLS,
        read=loaded_models.readings,
        breaker=loaded_models.breaker,
        check_ready=check_ready,
        max_running=limits.max_tenant_running_jobs,
        version=API_VERSION,
    )
    app.extensions[METRICS] = metrics
    app.register_api(metrics_routes(metrics))
    app.register_blueprint(docs_routes(app, lambda document: add_webhooks(add_security(document))))
    pages = {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith(("docs.", "hosting."))}
    # A probe must not fail because of its Accept header, so health answers JSON whatever it says.
    # Metrics are served while Redis is away, too, and in the format that their Accept header names.
    free_rules = pages | PREDICT.keys() | ALIVE.keys() | {METRICS_PATH}
    free_of_types = free_rules | {"/readyz"}
    register_request_checks(app, limits, lambda: caller_of(request, gate), free_rules=free_of_types)
    register_store_checks(app, loaded_models.breaker, check_store, free_rules=free_rules)
    return app


def _refuse(error: Exception) -> None:
    """Raise our own error for what pydantic found; flask-openapi3 would answer in its own form."""
    raise invalid_request(error) from error  # type: ignore[arg-type]
