"""The `perceptron` command: one sub-command per way to run the service."""

import importlib.metadata
import sys
import tomllib
from pathlib import Path

import click

from standalone import StandaloneError, UpSettings, exec_api, exec_worker, up
from storage.settings import DEFAULT_DATA_DIR

_host = click.option("--host", envvar="HOST", default="127.0.0.1", show_envvar=True, help="Where to listen.")
_port = click.option(
    "--port",
    envvar="PORT",
    default=8000,
    type=click.IntRange(1, 65535),
    show_envvar=True,
    help="On which port.",
)
_container_port = click.option(
    "--port",
    # What a platform says comes first: it is where the platform will ask.
    envvar=["AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT", "PORT"],
    default=8000,
    type=click.IntRange(1, 65535),
    show_envvar=True,
    help="On which port.",
)
_api_processes = click.option(
    "--api-processes",
    envvar=["API_PROCESSES", "WEB_CONCURRENCY"],
    default=1,
    type=click.IntRange(1, 64),
    show_envvar=True,
    help="Processes that answer HTTP.",
)
_redis_url = click.option(
    "--redis-url",
    envvar="REDIS_URL",
    required=True,
    show_envvar=True,
    metavar="URL",
    help="The server that keeps jobs and models.",
)

_data_dir = click.option(
    "--data-dir",
    envvar="DATA_DIR",
    default=Path(DEFAULT_DATA_DIR),
    type=click.Path(path_type=Path),
    show_envvar=True,
    help="Where jobs, models and data sets are kept.",
)
_own_redis_url = click.option(
    "--redis-url",
    envvar="REDIS_URL",
    show_envvar=True,
    metavar="URL",
    help="A server to use; without it one is started on the data directory.",
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

    Ctrl-C or SIGTERM ends it within 25 s, after what is under way has been answered; a second Ctrl-C ends
    it at once. The data stays in the data directory for the next time.

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
    help="Take a Redis that was emptied or replaced as it is: give up what it had before.",
)
def _init(data_dir: Path, redis_url: str | None, accept_loss: bool) -> None:
    """Make Redis and the blob store belong together.

    Each carries the same epoch, so that a Redis that lost its data is not taken for a new one. Without
    --accept-loss, this only says whether they agree.

    \b
    Examples:
      perceptron init --data-dir /srv/perceptron
      perceptron init --accept-loss --data-dir /srv/perceptron
    """
    from cli.init import init  # here, so that the other commands need not load the storage

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
    """Run the command; what can be expected to go wrong is one line on stderr and exit status 1."""
    try:
        perceptron(prog_name="perceptron")
    except StandaloneError as error:
        sys.exit(f"perceptron: error: {error}")
