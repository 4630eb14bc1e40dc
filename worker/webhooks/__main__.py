"""Start the process that tells webhooks: `python -m worker.webhooks PID`, where PID is the worker's."""

import asyncio
import logging
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx

from storage.blobs import BlobStore
from storage.connection import connect
from storage.identity import StoreIdentity
from storage.jobs.store import JobStore
from storage.log.form import configure
from storage.log.settings import LogSettings
from storage.output import never_block
from storage.queue import TrainingQueue
from storage.webhooks.outbox import WebhookOutbox
from worker.settings import Settings
from worker.webhooks.deliverer import MAX_AT_ONCE, Deliverer
from worker.webhooks.sending import Sender

FINISH_S = 2.0
"""What is under way may end within this time after SIGTERM. What does not is delivered later, perhaps twice."""


def main(worker_pid: int) -> None:
    """Deliver until SIGTERM, or until the worker is gone."""
    never_block()
    configure("webhooks", LogSettings.from_env(os.environ))
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request, with the URL
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker, which ends this process
    settings = Settings.from_env(os.environ)
    identity = StoreIdentity(BlobStore(settings.stores.blob_url))
    redis = connect(settings.stores.redis_url, timeout_s=5, n_retries=1, identity=identity)
    sender = Sender(httpx.create_ssl_context(), allow_private=settings.webhooks.allow_private)
    deliverer = Deliverer(WebhookOutbox(redis), JobStore(redis, TrainingQueue(redis)), settings.webhooks, sender)
    asyncio.run(_deliver(deliverer, worker_pid))


async def _deliver(deliverer: Deliverer, worker_pid: int) -> None:
    loop = asyncio.get_running_loop()
    # Names are resolved in these threads, too, and a slow name server must not keep Redis waiting.
    loop.set_default_executor(ThreadPoolExecutor(MAX_AT_ONCE + 8, thread_name_prefix="webhooks"))
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    await deliverer.run(lambda: stopped.is_set() or os.getppid() != worker_pid)
    await deliverer.finish(FINISH_S)
    os._exit(0)  # without waiting for a name server


if __name__ == "__main__":
    main(int(sys.argv[1]))
