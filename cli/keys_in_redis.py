"""The access keys in Redis, for `perceptron keys`: the same Redis as that of the service."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from standalone import DataDirectory, DataLostError, EmbeddedServer, StandaloneError
from standalone.redis_server import url_of_running
from storage.access.store import AccessKeyStore
from storage.availability import NewerSchemaError, ReplacedRedisError, as_unavailable, explain
from storage.blobs import BlobStore
from storage.connection import connect
from storage.errors import (
    AccessKeyEndedError,
    AccessKeyNotFoundError,
    AccessKeyRotatedError,
    BlobUrlError,
    CorruptDataError,
    RedisUrlError,
)
from storage.identity import StoreIdentity
from storage.store_settings import blob_url


@contextmanager
def store_of(data_dir: Path, redis_url: str | None, *, may_begin: bool = False) -> Iterator[AccessKeyStore]:
    """Give the access keys in a Redis, and explain what goes wrong with them.

    Args:
        redis_url: None for the embedded server of the data directory; it is started if it does not run.
        may_begin: whether it is also started without any data.

    Raises:
        StandaloneError: the embedded server cannot be started, or has no data; or Redis is not the one of the blob
            store, or a newer release wrote what is in it.
        click.ClickException: Redis cannot be used, or there is no such key.
    """
    blobs = blob_url(os.environ, data_dir.absolute())
    with ExitStack() as on_exit:
        url = redis_url or url_of_running(data_dir)
        if url is None:
            if not may_begin and not EmbeddedServer(data_dir).has_data:
                raise StandaloneError(
                    f"{data_dir} has no data, so no access key: name another directory with --data-dir, or set "
                    "REDIS_URL; 'perceptron keys create --scope admin' makes the first key"
                )
            data = on_exit.enter_context(DataDirectory.open(data_dir, "perceptron keys"))
            url = on_exit.enter_context(EmbeddedServer(data.path)).url
        try:
            # The blob store itself is not needed, and may be away: a key must be revoked all the same.
            identity = StoreIdentity(BlobStore(blobs))
            redis = on_exit.enter_context(connect(url, timeout_s=5.0, n_retries=1, identity=identity))
            identity.check(redis)
            yield AccessKeyStore(redis)
        except ReplacedRedisError as error:
            reason = f"{error}. The blob store is {blobs}: if it is another service's, name --data-dir or BLOB_URL"
            raise DataLostError(reason) from error
        except NewerSchemaError as error:
            raise StandaloneError(str(error)) from error
        except AccessKeyNotFoundError as error:
            raise click.ClickException(f"{error}. 'perceptron keys' lists the keys.") from error
        except (AccessKeyEndedError, AccessKeyRotatedError, BlobUrlError, RedisUrlError) as error:
            raise click.ClickException(str(error)) from error
        except CorruptDataError as error:
            raise click.ClickException(f"{error}. Make another one with 'perceptron keys create'.") from error
        except Exception as error:
            if as_unavailable(error) is None:
                raise
            raise click.ClickException(f"{explain(error)}. 'perceptron doctor' looks for the reason.") from error
