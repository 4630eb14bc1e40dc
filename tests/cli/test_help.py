"""What the command says about itself."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cli.main import COMMANDS
from cli.main import perceptron as group

from .conftest import ENV, ROOT, Command


def test_the_help_loads_click_and_nothing_else_that_is_slow() -> None:
    program = (
        "import sys; sys.argv = ['perceptron', '--help']\n"
        "from cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print({'httpx', 'numpy', 'redis', 'pyarrow', 'tabulate', 'tqdm', 'importlib.metadata', 'pydantic'}"
        " & set(sys.modules), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stderr == "set()\n"
    assert all(f"  {name} " in ran.stdout for name in COMMANDS)


def every_command() -> list[tuple[str, click.Command]]:
    """Give the name and the object of each command and subcommand."""
    found = []
    context = click.Context(group)
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", each) for sub, each in command.commands.items()]
    return found


@pytest.mark.parametrize(("name", "command"), [pytest.param(*each, id=each[0]) for each in every_command()])
def test_the_help_of_every_command_begins_with_examples_that_call_it(name: str, command: click.Command) -> None:
    text = command.get_help(click.Context(command, info_name=f"perceptron {name}"))
    usage, examples, *_ = text.split("\n\n")
    assert usage.startswith(f"Usage: perceptron {name}")
    heading, *lines = [line.strip() for line in examples.splitlines()]
    assert heading in ("Examples:", "Example:")
    assert any(f"perceptron {name}" in line for line in lines)
    assert "--debug" in text and "--quiet" in text


def test_a_mistyped_command_or_option_names_the_nearest(alone: Command) -> None:
    ran = alone("trian")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "There is no command 'trian'. Did you mean 'train'?" in ran.stderr
    ran = alone("jobs", "--modle", "x")
    assert ran.returncode == 2 and "Did you mean '--model'?" in ran.stderr
    ran = alone("xyzzy")
    assert ran.returncode == 2 and "'perceptron --help' lists the commands" in ran.stderr


def complete(folder: Path, *words: str) -> list[str]:
    """Complete the last word in a real bash, with the script that the command prints."""
    program = folder / "perceptron"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m cli "$@"\n')
    program.chmod(0o755)
    script = (
        f"source <(perceptron completion bash); COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; "
        '_perceptron_completion perceptron; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = {**ENV, "PYTHONPATH": str(ROOT), "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=True).stdout.split()


def test_bash_completes_commands_subcommands_options_and_choices(tmp_path: Path) -> None:
    assert complete(tmp_path, "perceptron", "d") == ["datasets", "doctor"]
    assert complete(tmp_path, "perceptron", "datasets", "") == ["delete", "list", "rows", "show", "upload"]
    assert complete(tmp_path, "perceptron", "jobs", "--stat") == ["--status"]
    states = ["queued", "running", "succeeded", "failed", "cancelled"]
    assert complete(tmp_path, "perceptron", "jobs", "--status", "") == states


@pytest.mark.parametrize(("shell", "word"), [("zsh", "#compdef perceptron"), ("fish", "complete --no-files")])
def test_zsh_and_fish_have_scripts_too(alone: Command, shell: str, word: str) -> None:
    assert word in alone.good("completion", shell)
