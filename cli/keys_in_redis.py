"""The access keys in Redis, for `perceptron keys`: the same Redis as that of the service."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from standalone import DataDirectory, EmbeddedServer
from standalone.redis_server import url_of_running
from storage.access.store import AccessKeyStore
from storage.availability import as_unavailable, explain
from storage.connection import connect
from storage.errors import (
    AccessKeyEndedError,
    AccessKeyNotFoundError,
    AccessKeyRotatedError,
    CorruptDataError,
    RedisUrlError,
)


@contextmanager
def store_of(data_dir: Path, redis_url: str | None) -> Iterator[AccessKeyStore]:
    """Give the access keys in a Redis, and explain what goes wrong with them.

    Args:
        redis_url: None for the embedded server of the data directory; it is started if it does not run.

    Raises:
        StandaloneError: the embedded server cannot be started.
        click.ClickException: Redis cannot be used, or there is no such key.
    """
    with ExitStack() as on_exit:
        url = redis_url or url_of_running(data_dir)
        if url is None:
            data = on_exit.enter_context(DataDirectory.open(data_dir, "perceptron keys"))
            url = on_exit.enter_context(EmbeddedServer(data.path)).url
        try:
            yield AccessKeyStore(on_exit.enter_context(connect(url, timeout_s=5.0, n_retries=1)))
        except AccessKeyNotFoundError as error:
            raise click.ClickException(f"{error}. 'perceptron keys' lists the keys.") from error
        except (AccessKeyEndedError, AccessKeyRotatedError, RedisUrlError) as error:
            raise click.ClickException(str(error)) from error
        except CorruptDataError as error:
            raise click.ClickException(f"{error}. Make another one with 'perceptron keys create'.") from error
        except Exception as error:
            if as_unavailable(error) is None:
                raise
            raise click.ClickException(f"{explain(error)}. 'perceptron doctor' looks for the reason.") from error
