"""What gunicorn serves. Reads the environment and makes the parts."""

import os

from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError
from redis.retry import Retry

from service.app import create_app
from service.http.requests import register_epoch_check
from service.predict.memory.loaded_models import LoadedModels
from service.predict.protocols.hosting.platform_routes import platform_routes
from service.server.shell import Shell
from service.settings import Settings
from storage.blobs import BlobStore
from storage.connection import connect, connect_on_loop
from storage.identity import Epoch
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.queue import TrainingQueue


def create_shell() -> Shell:
    """Build what is served, from the environment. No socket is opened before the first request."""
    settings = Settings.from_env(os.environ)
    blobs = BlobStore(settings.blob_url)
    epoch = Epoch(blobs)
    redis = connect(settings.redis_url, timeout_s=0.9, n_retries=1, epoch=epoch)
    # A lost connection is worth a second attempt. Silence is not: redis-py would retry both the command and the
    # connection below it, four waits in all.
    redis.set_retry(Retry(ConstantBackoff(0.05), 1, supported_errors=(ConnectionError,)))
    models = LoadedModels(
        ModelStore(redis),
        JobStore(redis, TrainingQueue(redis)),
        max_bytes=settings.model_memory_bytes,
        check_store=lambda: epoch.check(redis),
        default=settings.default_model,
    )
    epoch.on_loss = models.forget
    app = create_app(redis, blobs, settings.limits, models)
    register_epoch_check(app, epoch, redis)
    on_loop = connect_on_loop(settings.redis_url, timeout_s=2.0, max_connections=8, epoch=epoch)
    return Shell(
        app, on_loop, models, threads=settings.api_threads, limits=settings.limits, renamed=platform_routes(settings)
    )


app = create_shell()
