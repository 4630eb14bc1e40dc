"""The `perceptron` command: one subcommand for each way to run the service."""

import importlib.metadata
import sys
import tomllib
from functools import partial
from pathlib import Path

import click

from standalone import StandaloneError, UpSettings, exec_api, exec_worker, up
from storage.store_settings import DEFAULT_DATA_DIR

_host = click.option("--host", envvar="HOST", default="127.0.0.1", show_envvar=True, help="Address to listen on.")
_port_from = partial(
    click.option, "--port", default=8000, type=click.IntRange(1, 65535), show_envvar=True, help="Port to listen on."
)
_port = _port_from(envvar="PORT")
# A platform's variables come first: that is where the platform sends its requests.
_container_port = _port_from(envvar=["AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT", "PORT"])
_api_processes = click.option(
    "--api-processes",
    envvar=["API_PROCESSES", "WEB_CONCURRENCY"],
    default=1,
    type=click.IntRange(1, 64),
    show_envvar=True,
    help="Processes that serve HTTP.",
)
_redis = partial(click.option, "--redis-url", envvar="REDIS_URL", show_envvar=True, metavar="URL")
_redis_url = _redis(required=True, help="The Redis that keeps jobs and models.")
_own_redis_url = _redis(help="A Redis to use instead of the embedded one.")
_data_dir = click.option(
    "--data-dir",
    envvar="DATA_DIR",
    default=Path(DEFAULT_DATA_DIR),
    type=click.Path(path_type=Path),
    show_envvar=True,
    help="Where jobs, models and data sets are kept.",
)


def _version() -> str:
    try:
        return importlib.metadata.version("perceptron-service")
    except importlib.metadata.PackageNotFoundError:  # a checkout
        pyproject = Path(__file__).resolve().parent.parent / "pyproject.toml"
        return str(tomllib.loads(pyproject.read_text())["project"]["version"])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(_version(), prog_name="perceptron", message="%(prog)s %(version)s")
def perceptron() -> None:
    """Train small neural networks over HTTP and serve them.

    \b
    Examples:
      perceptron up                                everything on this machine
      perceptron up --port 9000 --workers 2        with two training workers
      REDIS_URL=redis://db:6379 perceptron serve   the API alone, as in a container
      REDIS_URL=redis://db:6379 perceptron worker  one more training worker
    """


@perceptron.command(name="up")
@_host
@_port
@_api_processes
@click.option(
    "--workers",
    envvar="WORKERS",
    default=1,
    type=click.IntRange(1, 64),
    show_envvar=True,
    help="Training workers.",
)
@_data_dir
@_own_redis_url
def _up(host: str, port: int, api_processes: int, workers: int, data_dir: Path, redis_url: str | None) -> None:
    """Run everything on this machine: embedded Redis, API and training workers.

    Ctrl-C or SIGTERM answers the requests under way and stops within 25 s; a second Ctrl-C stops at once.
    The data stays in the data directory.

    \b
    Examples:
      perceptron up
      perceptron up --data-dir /srv/perceptron --workers 2
    """
    settings = UpSettings(
        host=host,
        port=port,
        api_processes=api_processes,
        workers=workers,
        data_dir=data_dir,
        redis_url=redis_url,
    )
    sys.exit(up(settings))


@perceptron.command(name="init")
@_data_dir
@_own_redis_url
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Use a Redis that was emptied or replaced as it is now; what it held before is lost.",
)
def _init(data_dir: Path, redis_url: str | None, accept_loss: bool) -> None:
    """Check that Redis and the blob store belong together.

    Both carry the same store identity, so that a Redis that lost its data is not mistaken for a new one. With
    --accept-loss, use Redis as it is now.

    \b
    Examples:
      perceptron init --data-dir /srv/perceptron
      perceptron init --accept-loss --data-dir /srv/perceptron
    """
    from cli.init import init  # here, so that the other commands do not load the storage

    click.echo(init(data_dir, redis_url, is_loss_accepted=accept_loss))


@perceptron.command(name="serve")
@_host
@_container_port
@_api_processes
@_redis_url
def _serve(host: str, port: int, api_processes: int, redis_url: str) -> None:
    """Run the API alone.

    \b
    Example:
      REDIS_URL=redis://db:6379 HOST=0.0.0.0 perceptron serve
    """
    exec_api(host, port, api_processes, redis_url)


@perceptron.command(name="worker")
@_redis_url
def _worker(redis_url: str) -> None:
    """Run one training worker alone.

    \b
    Example:
      REDIS_URL=redis://db:6379 perceptron worker
    """
    exec_worker(redis_url)


def main() -> None:
    """Run the command. An expected error is one line on stderr, with exit status 1."""
    try:
        perceptron(prog_name="perceptron")
    except StandaloneError as error:
        sys.exit(f"perceptron: error: {error}")
