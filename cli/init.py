"""`perceptron init`: make Redis and the blob store belong together."""

import os
from contextlib import ExitStack
from pathlib import Path

from standalone import DataDirectory, DataLostError, EmbeddedServer, StandaloneError
from storage.availability import ReplacedRedisError, is_unavailable
from storage.blobs import BlobStore
from storage.connection import connect
from storage.errors import BlobUrlError, RedisUrlError, WrongBlobStoreError
from storage.identity import StoreIdentity, accept_loss
from storage.store_settings import blob_url


def init(data_dir: Path, redis_url: str | None, *, is_loss_accepted: bool) -> str:
    """Check that Redis and the blob store have the same identity, and say so; give both one if they are new.

    Args:
        redis_url: None for the embedded server of the data directory, which must not be running.
        is_loss_accepted: whether to continue with a Redis that was emptied or replaced.

    Raises:
        StandaloneError: they do not belong together, and the loss is not accepted; or a store cannot be reached.
    """
    with ExitStack() as on_exit:
        data = on_exit.enter_context(DataDirectory.open(data_dir, "perceptron init"))
        try:
            blobs = BlobStore(blob_url(os.environ, data.path))
        except BlobUrlError as error:
            raise StandaloneError(str(error)) from error
        if redis_url is None:
            redis_url = on_exit.enter_context(EmbeddedServer(data.path)).url
        try:
            connection = on_exit.enter_context(connect(redis_url, timeout_s=5, n_retries=1))
        except RedisUrlError as error:
            raise StandaloneError(str(error)) from error
        try:
            try:
                identity = StoreIdentity(blobs)
                identity.check(connection)
                identity.check_blobs(connection)
            except (ReplacedRedisError, WrongBlobStoreError) as error:
                if not is_loss_accepted:
                    raise DataLostError(str(error)) from error
                accept_loss(connection, blobs)
                return "The loss is accepted: Redis and the blob store are used as they are now."
        except Exception as error:
            if not is_unavailable(error):
                raise
            raise StandaloneError(f"a store cannot be used now ({error}): put that right and try again") from error
        return "Redis and the blob store belong together."
