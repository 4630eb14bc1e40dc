"""Start one training worker: `python -m worker.main`."""

import logging
import os
import sys

from storage.blobs import BlobStore
from storage.connection import connect
from storage.identity import StoreIdentity
from storage.jobs.housekeeping import Housekeeping
from storage.output import never_block
from worker.process import TrainingWorker
from worker.settings import Settings


def main() -> int:
    """Work until SIGTERM or Ctrl-C, or until Redis is away for long; then the supervisor starts a new worker."""
    never_block()
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s")
    try:
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
    blobs = BlobStore(settings.stores.blob_url)  # imports what its URL needs once, not in every worker child
    identity = StoreIdentity(blobs)
    # The timeout must be longer than RQ's blocking pop, or every idle pop would look like a lost connection. The
    # retries must last as long as those of a training, which ends with this process.
    redis = connect(settings.stores.redis_url, timeout_s=15, n_retries=60, identity=identity)
    housekeeping = Housekeeping(redis, blobs, keep_jobs_s=settings.keep_jobs_days * 24 * 3600)
    TrainingWorker(redis, identity, housekeeping, max_attempts=settings.max_attempts).work(logging_level="WARNING")
    return 0


if __name__ == "__main__":
    sys.exit(main())
