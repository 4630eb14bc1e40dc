"""Start one training worker: `python -m worker.main`."""

import logging
import os
import signal
import sys
import time

from redis import Redis
from redis.retry import Retry

from storage.access.ended import EndedKeys
from storage.availability import explain, is_unavailable
from storage.blobs import BlobStore
from storage.connection import check_url, connect
from storage.errors import BlobUrlError, RedisUrlError
from storage.identity import StoreIdentity
from storage.jobs.housekeeping import Housekeeping
from storage.log import traces
from storage.log.form import configure
from storage.log.settings import LogSettings
from storage.needed_commands import check_commands
from storage.output import never_block
from storage.store_settings import read_secret_files
from worker.health import HealthFile, TouchingBackoff
from worker.process import TrainingWorker
from worker.settings import Settings
from worker.webhooks.process import DelivererProcess

TRY_EVERY_S = 1.0
SAY_EVERY_S = 30.0

_log = logging.getLogger(__name__)


def main() -> int:
    """Work until SIGTERM or Ctrl-C, or until Redis is away for long; then the supervisor starts a new worker."""
    never_block()
    try:
        configure("worker", LogSettings.from_env(os.environ))
        read_secret_files(os.environ)
        settings = Settings.from_env(os.environ)
    except KeyError as error:
        print(
            f"the setting {error.args[0]} is missing; for instance {error.args[0]}=redis://127.0.0.1:6379/0",
            file=sys.stderr,
        )
        return 2
    except ValueError as error:
        print(f"a setting cannot be read: {error}", file=sys.stderr)
        return 2
    try:
        check_url(settings.stores.redis_url)
        blobs = BlobStore(settings.stores.blob_url)  # imports what its URL needs once, not in every worker child
    except (RedisUrlError, BlobUrlError) as error:
        print(error, file=sys.stderr)
        return 2
    traces.prepare(os.environ)
    identity = StoreIdentity(blobs)
    redis_url = settings.stores.redis_url
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until RQ installs its own: process 1 ignores it otherwise
    health_file = HealthFile(settings.health_file)
    wait_for_redis(connect(redis_url, timeout_s=5, n_retries=0, identity=identity), health_file)
    # The timeout must be longer than RQ's blocking pop, or every idle pop would look like a lost connection. The
    # retries must last as long as those of a training, which ends with this process.
    redis = connect(redis_url, timeout_s=15, n_retries=60, identity=identity)
    redis.set_retry(Retry(TouchingBackoff(health_file, cap=1.0, base=0.05), 60))
    housekeeping = Housekeeping(
        redis,
        blobs,
        keep_jobs_s=settings.keep_jobs_days * 24 * 3600,
        check_blobs=lambda: identity.check_blobs(redis),
        tend_keys=EndedKeys(redis).tend,
    )
    webhooks = DelivererProcess() if settings.webhooks.is_on else None
    worker = TrainingWorker(
        redis,
        identity,
        housekeeping,
        health_file,
        max_running=settings.max_tenant_running_jobs,
        max_attempts=settings.max_attempts,
        webhooks=webhooks,
    )
    try:
        worker.work(logging_level="WARNING")
    finally:
        if webhooks is not None:
            webhooks.stop()
    return 0


def wait_for_redis(redis: Redis, health_file: HealthFile) -> None:
    """Wait until Redis can be used; say why not, in one line, when the reason changes and every half minute."""
    said, say_again_at = "", 0.0
    while True:
        health_file.touch()
        try:
            check_commands(redis)
            return
        except Exception as error:
            if not is_unavailable(error):
                raise
            reason = explain(error)
        if reason != said or time.monotonic() >= say_again_at:
            _log.warning("waiting for Redis: %s", reason)
            said, say_again_at = reason, time.monotonic() + SAY_EVERY_S
        time.sleep(TRY_EVERY_S)


if __name__ == "__main__":
    sys.exit(main())
