"""The access keys in Redis, for `perceptron keys`: the same Redis as that of the service."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from standalone import DataDirectory, DataLostError, EmbeddedServer, StandaloneError
from standalone.redis_server import url_of_running
from storage import keys
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
        may_begin: whether it is also started without any data, and an empty Redis becomes that of the service.

    Raises:
        StandaloneError: the embedded server cannot be started; or Redis has no data, or is not the one of the blob
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
            store = BlobStore(blobs)
            if not may_begin:
                _check_has_begun(url, store)
            identity = StoreIdentity(store)
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


def _check_has_begun(redis_url: str, blobs: BlobStore) -> None:
    """Check that a Redis is already that of a service, before a connection that makes it one.

    If only the blob store is in use, Redis has lost its data. The check of the identity says what to do then.

    Raises:
        StandaloneError: neither of them is in use.
    """
    with connect(redis_url, timeout_s=5.0, n_retries=1) as redis:
        has_begun = redis.exists(keys.STORE_IDENTITY, keys.OLDER_STORE_IDENTITY)
    marks = (keys.STORE_IDENTITY_MARK, keys.OLDER_STORE_IDENTITY_MARK)
    if not has_begun and all(blobs.read_mark(mark) is None for mark in marks):
        raise StandaloneError(
            "this Redis has no data of the service, so no access key: check REDIS_URL, or name another one with "
            "--redis-url; 'perceptron keys create --scope admin' makes the first key"
        )
