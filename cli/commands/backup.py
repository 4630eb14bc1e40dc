"""`perceptron backup` and `perceptron restore`."""

from pathlib import Path

import click

from cli.options import common_options, data_dir_option, redis_url_option

_folder = click.argument("folder", type=click.Path(path_type=Path))
_redis_url = redis_url_option(is_required=False, help_text="A Redis that is used instead of the embedded one.")


@click.command()
@_folder
@data_dir_option
@_redis_url
@common_options
def backup(folder: Path, data_dir: Path, redis_url: str | None) -> None:
    """
    \b
    Examples:
      perceptron backup /backup/2026-11-26
      REDIS_URL=redis://db:6379 BLOB_URL=s3://bucket/blobs perceptron backup /backup/2026-11-26

    Copy all jobs, models, data sets and checkpoints into a new folder. The service may run meanwhile.

    Redis is copied as of one moment, and the blobs that it names with it. The folder appears when it is complete.
    """
    from cli.backup import backup as copy  # here, so that the other commands do not load the storage

    click.echo(copy(folder, data_dir, redis_url))


@click.command()
@_folder
@data_dir_option
@_redis_url
@common_options
def restore(folder: Path, data_dir: Path, redis_url: str | None) -> None:
    """
    \b
    Examples:
      perceptron restore /backup/2026-11-26 --data-dir /srv/perceptron
      REDIS_URL=redis://db:6379 perceptron restore /backup/2026-11-26

    Put a backup back, where the service is stopped and has no data, or has lost its Redis.

    The stores keep their identity, so that nothing has to be accepted. With REDIS_URL, the blobs are restored, and the
    file of Redis is left to you: the last line says how.
    """
    from cli.backup import restore as copy

    click.echo(copy(folder, data_dir, redis_url))


COMMANDS = {"backup": backup, "restore": restore}
