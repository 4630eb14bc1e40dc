"""`perceptron models`, `show` and `alias`."""

from typing import Any

import click

from cli.commands.jobs import page
from cli.options import Family, client_options, this_call, yes_option
from cli.output import print_facts, print_json, print_table, say
from cli.remote.session import command_line, confirm, connected
from cli.remote.watching import facts_of_metrics, moment
from perceptron_client import Client
from perceptron_client.answers.models import Model, Version

N_SHOWN = 20
"""Names of columns or features that are shown; the JSON has all."""


def reference(text: str) -> tuple[str, int | str | None]:
    """Split MODEL, MODEL@3 or MODEL@production into the name, and a number or an alias."""
    name, mark, which = text.partition("@")
    if not name or (mark and not which):
        raise click.UsageError(f"{text!r} is no model: say MODEL, MODEL@VERSION or MODEL@ALIAS")
    is_number = which.isascii() and which.isdigit() and len(which) < 16
    return name, (int(which) if is_number else which or None)


@click.group(cls=Family, invoke_without_command=True)
@client_options
@click.pass_context
def models(ctx: click.Context) -> None:
    """
    \b
    Examples:
      perceptron models
      perceptron models delete planes@3
      perceptron models delete planes --yes

    List models by name, or delete one.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_models)


@models.command("list")
@client_options
def list_models() -> None:
    """
    \b
    Example:
      perceptron models list --json

    List models by name.
    """
    with connected() as client:
        found = list(client.models.list())
    if this_call().is_json:
        print_json(page([model.raw for model in found], False, "name"))
        return
    rows = [(each.name, each.latest_version, each.n_versions, _aliases(each.aliases)) for each in found]
    print_table(("Model", "Latest", "Versions", "Aliases"), rows)
    if not found:
        say(f"There is no model yet. To train one: {command_line('train', 'FILE', '--target', 'COLUMN')}")


@models.command("delete")
@click.argument("which", metavar="MODEL[@VERSION]")
@yes_option
@client_options
def delete_model(which: str, is_sure: bool) -> None:
    """
    \b
    Examples:
      perceptron models delete planes@3
      perceptron models delete planes --yes

    Delete a model with all its versions and aliases, or one version. It cannot be undone.
    """
    name, version = reference(which)
    if isinstance(version, str):
        raise click.UsageError(f"{which!r} names an alias: delete a version by its number, or the alias by itself")
    with connected() as client:
        model = client.models.get(name)  # before the question, so that a typing error is no question
        if version is None:
            n = model.n_versions
            confirm(f"Delete the model {name} with {n} version{'' if n == 1 else 's'}?", is_sure=is_sure)
            client.models.delete(name)
        else:
            confirm(f"Delete version {version} of {name}?", is_sure=is_sure)
            client.models.delete_version(name, version)
    say(f"{which} is deleted.")


@click.command()
@click.argument("which", metavar="MODEL[@VERSION|@ALIAS]")
@client_options
def show(which: str) -> None:
    """
    \b
    Examples:
      perceptron show planes
      perceptron show planes@3
      perceptron show planes@production --json

    Show a model with its versions and aliases, or one version: what it reads, what it learned, and how well.
    """
    name, version = reference(which)
    with connected() as client:
        if version is None:
            _show_model(client.models.get(name))
        else:
            _show_version(client.models.version(name, version))


@click.command()
@click.argument("model")
@click.argument("name", metavar="ALIAS")
@click.argument("version", type=click.IntRange(1), required=False)
@click.option("-d", "--delete", "is_deleted", is_flag=True, help="Delete the alias; the version stays.")
@client_options
def alias(model: str, name: str, version: int | None, is_deleted: bool) -> None:
    """
    \b
    Examples:
      perceptron alias planes production 3
      perceptron alias planes production --delete

    Point an alias at a version of a model, or delete it. Predictions follow within 50 ms.
    """
    if (version is None) != is_deleted:
        raise click.UsageError("give the version that the alias shall name, or --delete")
    with connected() as client:
        if version is None:
            client.models.delete_alias(model, name)
            found = client.models.get(model)
            say(f"{model} has no alias {name} any more.")
        else:
            found = client.models.set_alias(model, name, version)
            say(f"{model}@{name} is version {version} now.")
    if this_call().is_json:
        print_json(found.raw)


def version_of(client: Client, which: str, number: int | None, name: str | None) -> Version:
    """Return the version that MODEL@..., --version or --alias names; else the latest."""
    model, of_model = reference(which)
    given = [each for each in (of_model, number, name) if each is not None]
    if len(given) > 1:
        raise click.UsageError("name one of MODEL@VERSION, MODEL@ALIAS, --version and --alias")
    return client.models.version(model, given[0] if given else None)


def _show_model(model: Model) -> None:
    if this_call().is_json:
        print_json(model.raw)
        return
    aliases: dict[int, list[str]] = {}
    for alias_name, number in model.aliases.items():
        aliases.setdefault(number, []).append(alias_name)
    rows: list[tuple[Any, ...]] = []
    for version in model.versions or ():
        measured = dict(facts_of_metrics(version.metrics))
        where = measured.pop("measured on", None)
        score = next(((name, measured[name]) for name in ("accuracy", "r2") if name in measured), ("", None))
        names = ", ".join(aliases.get(version.version, []))
        rows.append((version.version, names, *score, where, moment(version.created_at), version.job))
    print_table(("Version", "Aliases", "Metric", "Value", "Measured on", "Created", "Job"), rows)


def _show_version(version: Version) -> None:
    if this_call().is_json:
        print_json(version.raw)
        return
    classes = version.task.get("classes")
    layers = version.network.get("hidden_layers") or []
    inputs = [str(each["name"]) for each in version.columns] if version.columns else list(version.feature_names)
    facts: list[tuple[str, Any]] = [
        ("model", version.model),
        ("version", version.version),
        ("aliases", ", ".join(version.aliases) or None),
        ("created", moment(version.created_at)),
        ("job", version.job),
        ("task", str(version.task.get("kind", "")).replace("_", " ")),
        ("target", version.target),
        ("classes", _shortened([str(each) for each in classes]) if classes else None),
        ("reads", _shortened(inputs)),
        ("hidden layers", ", ".join(map(str, layers)) or "none"),
        *facts_of_metrics(version.metrics),
    ]
    print_facts(facts)


def _shortened(names: list[str]) -> str:
    more = f", and {len(names) - N_SHOWN} more" if len(names) > N_SHOWN else ""
    return ", ".join(names[:N_SHOWN]) + more


def _aliases(aliases: Any) -> str:
    return ", ".join(f"{name}: {number}" for name, number in aliases.items())


COMMANDS = {"models": models, "show": show, "alias": alias}
