"""What gunicorn serves: reads the environment and makes the parts."""

import os

from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError
from redis.retry import Retry

from service.app import create_app
from service.http.room import Room
from service.predict.memory.loaded_models import LoadedModels
from service.predict.protocols.hosting.platform_routes import platform_routes
from service.server.shell import Shell
from service.settings import Settings
from storage.availability import as_unavailable
from storage.blobs import BlobStore
from storage.circuit_breaker import CircuitBreaker
from storage.connection import connect, connect_on_loop
from storage.identity import StoreIdentity
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.queue import TrainingQueue


def create_shell() -> Shell:
    """Build what gunicorn serves from the environment. No socket is opened before the first request."""
    settings = Settings.from_env(os.environ)
    redis_url = settings.stores.redis_url
    blobs = BlobStore(settings.stores.blob_url)
    identity = StoreIdentity(blobs)
    redis = connect(redis_url, timeout_s=0.9, n_retries=1, identity=identity)
    # Retry a lost connection once, but not a silent one: redis-py would retry the command and the connection below it,
    # four waits in all.
    redis.set_retry(Retry(ConstantBackoff(0.05), 1, supported_errors=(ConnectionError,)))

    def check_store() -> None:
        identity.check(redis)

    models = LoadedModels(
        ModelStore(redis),
        JobStore(redis, TrainingQueue(redis)),
        CircuitBreaker(as_unavailable),
        max_bytes=settings.model_memory_bytes,
        check_store=check_store,
        default=settings.default_model,
    )
    identity.on_loss = models.forget
    # Half of the threads, so that long work leaves some to all others.
    room = Room(settings.request_memory_bytes, max_long=max(settings.api_threads // 2, 1))
    app = create_app(redis, blobs, settings.limits, models, check_store, room)
    on_loop = connect_on_loop(redis_url, timeout_s=2.0, max_connections=8, identity=identity)
    return Shell(
        app,
        on_loop,
        models,
        threads=settings.api_threads,
        limits=settings.limits,
        room=room,
        renamed=platform_routes(settings),
        cors_origins=settings.cors_origins,
    )


app = create_shell()
