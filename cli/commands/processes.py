"""`perceptron up`, `serve`, `worker` and `init`: the commands that run the service or work on its stores."""

import os
from functools import partial
from pathlib import Path

import click

from cli.options import common_options, data_dir_option, redis_url_option
from standalone import UpSettings, exec_api, exec_worker
from standalone import up as run_everything
from storage.log.settings import LogSettings

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
_insecure = click.option(
    "--insecure",
    envvar="INSECURE",
    is_flag=True,
    show_envvar=True,
    help="Let everybody in while there is no access key, also from other machines.",
)


def _check_log_settings() -> None:
    """Check the settings that all processes read first, here where the error is one line.

    Raises:
        click.UsageError: one of them cannot be used.
    """
    try:
        LogSettings.from_env(os.environ)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


_redis_url = redis_url_option(is_required=True, help_text="The Redis that keeps jobs and models.")
_own_redis_url = redis_url_option(is_required=False, help_text="A Redis to use instead of the embedded one.")


@click.command()
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
@data_dir_option
@_own_redis_url
@_insecure
@common_options
def up(
    host: str, port: int, api_processes: int, workers: int, data_dir: Path, redis_url: str | None, insecure: bool
) -> int:
    """
    \b
    Examples:
      perceptron up
      perceptron up --port 9000 --workers 2
      perceptron up --data-dir /srv/perceptron

    Run everything on this machine: an embedded Redis, the API and training workers.

    It is ready when it prints an address. The other commands find it by that data directory, as long as they are
    called from the same place or with the same DATA_DIR. Ctrl-C or SIGTERM answers the requests under way and stops
    within 25 s; a second Ctrl-C stops at once. Jobs and models stay in the data directory.

    To be reached from other machines, it wants an access key first: perceptron keys create --help.
    """
    _check_log_settings()
    return run_everything(
        UpSettings(
            host=host,
            port=port,
            api_processes=api_processes,
            workers=workers,
            data_dir=data_dir,
            redis_url=redis_url,
            is_insecure=insecure,
        )
    )


@click.command()
@data_dir_option
@_own_redis_url
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Use a Redis that was emptied or replaced as it is now; what it held before is lost.",
)
@common_options
def init(data_dir: Path, redis_url: str | None, accept_loss: bool) -> None:
    """
    \b
    Examples:
      perceptron init --data-dir /srv/perceptron
      perceptron init --accept-loss --data-dir /srv/perceptron

    Check that Redis and the blob store belong together.

    Both carry the same store identity, so that a Redis that lost its data is not mistaken for a new one. With
    --accept-loss, use Redis as it is now.
    """
    from cli.init import init as check_stores  # here, so that the other commands do not load the storage

    click.echo(check_stores(data_dir, redis_url, is_loss_accepted=accept_loss))


@click.command()
@_host
@_container_port
@_api_processes
@_redis_url
@_insecure
@common_options
def serve(host: str, port: int, api_processes: int, redis_url: str, insecure: bool) -> None:
    """
    \b
    Example:
      REDIS_URL=redis://db:6379 HOST=0.0.0.0 perceptron serve

    Run the API alone, without a supervisor, as in a container.

    To be reached from other machines, it wants an access key first: perceptron keys create --help.
    """
    _check_log_settings()
    exec_api(host, port, api_processes, redis_url, is_insecure=insecure)


@click.command()
@_redis_url
@common_options
def worker(redis_url: str) -> None:
    """
    \b
    Example:
      REDIS_URL=redis://db:6379 perceptron worker

    Run one training worker alone, without a supervisor. Start as many as there shall be jobs at a time.
    """
    _check_log_settings()
    exec_worker(redis_url)


COMMANDS = {"up": up, "init": init, "serve": serve, "worker": worker}
