"""What gunicorn serves: reads the environment and makes the parts."""

import os
from functools import cache

from gunicorn.errors import AppImportError

from service.access.gate import Gate
from service.access.rates import Rates
from service.access.ring import KeyRing
from service.app import METRICS, create_app
from service.http.room import Room
from service.observe.access_log import AccessLog
from service.observe.blob_watch import BlobWatch
from service.observe.metrics.traffic import Traffic
from service.predict.memory.loaded_models import LoadedModels
from service.predict.protocols.hosting.platform_routes import platform_routes
from service.server.shell import Shell
from service.settings import Settings
from storage.access.rates import RateStore
from storage.access.store import AccessKeyStore
from storage.availability import as_unavailable
from storage.blobs import BlobStore
from storage.circuit_breaker import CircuitBreaker
from storage.connection import connect, connect_on_loop
from storage.errors import BlobUrlError, RedisUrlError
from storage.identity import StoreIdentity
from storage.jobs.store import JobStore
from storage.log import traces
from storage.models.store import ModelStore
from storage.needed_commands import check_commands
from storage.queue import TrainingQueue
from storage.waiting_time import ONE_WAIT_S, limit_waiting


def create_shell() -> Shell:
    """Build what gunicorn serves from the environment. No socket is opened before the first request."""
    settings = Settings.from_env(os.environ)
    traces.begin("api", os.environ)
    redis_url = settings.stores.redis_url
    blobs = BlobStore(settings.stores.blob_url)
    identity = StoreIdentity(blobs)
    redis = connect(redis_url, timeout_s=ONE_WAIT_S, n_retries=1, identity=identity)
    traffic = Traffic(settings.metrics_versions, AccessLog(settings.log_predict_every))
    limit_waiting(redis, traffic.called_redis)

    check_commands_once = cache(check_commands)  # an error is not cached

    def check_redis() -> None:
        identity.check(redis)
        check_commands_once(redis)

    def look_at_blobs() -> None:
        identity.check_blobs(redis)

    blob_watch = BlobWatch(look_at_blobs)
    blob_watch.start()

    def check_store() -> None:
        check_redis()
        blob_watch.check_is_ours()

    def check_blobs() -> None:
        blob_watch.check()
        look_at_blobs()  # a job must not be accepted with a blob store that was replaced just now

    models = LoadedModels(
        ModelStore(redis),
        JobStore(redis, TrainingQueue(redis)),
        CircuitBreaker(as_unavailable),
        max_bytes=settings.model_memory_bytes,
        check_store=check_redis,
        default=settings.default_model,
        traffic=traffic,
    )
    ring = KeyRing(AccessKeyStore(redis), models.breaker, check_store=check_redis)
    rates = Rates(settings.limits, RateStore(redis), models.breaker)
    gate = Gate(
        ring,
        rates,
        allowed_hosts=settings.allowed_hosts,
        cors_origins=settings.cors_origins,
        is_insecure=settings.is_insecure,
    )

    def forget() -> None:
        models.forget()
        ring.forget()

    identity.on_loss = forget
    # Half of the threads, so that long work leaves some to all others.
    room = Room(settings.request_memory_bytes, max_long=max(settings.api_threads // 2, 1))
    app = create_app(redis, blobs, settings.limits, models, check_store, check_blobs, room, gate, settings.webhooks)
    on_loop = connect_on_loop(redis_url, timeout_s=2.0, max_connections=8, identity=identity)
    return Shell(
        app,
        on_loop,
        models,
        threads=settings.api_threads,
        limits=settings.limits,
        room=room,
        gate=gate,
        blobs=blobs,
        check_blobs=check_blobs,
        renamed=platform_routes(settings),
        cors_origins=settings.cors_origins,
        proxies=settings.proxies,
        stop_delay_s=settings.stop_delay_s,
        metrics=app.extensions[METRICS],
    )


try:
    app = create_shell()
except KeyError as error:
    raise AppImportError(f"the setting {error.args[0]} is missing") from error
except (BlobUrlError, RedisUrlError, ValueError) as error:
    raise AppImportError(f"a setting cannot be used: {error}") from error
