"""`perceptron completion`: click's own completion of commands and options."""

import click
from click.shell_completion import get_completion_class

from cli.options import common_options

_VARIABLE = "_PERCEPTRON_COMPLETE"
"""What the script sets when it calls the command; click knows it by the command's name."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common_options
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """
    \b
    Examples:
      perceptron completion bash > ~/.local/share/bash-completion/completions/perceptron
      perceptron completion zsh > ~/.zfunc/_perceptron       (with ~/.zfunc in fpath)
      perceptron completion fish > ~/.config/fish/completions/perceptron.fish
      source <(perceptron completion bash)                   this shell only

    Print the script that completes commands and options in a shell. Start a new shell afterwards.
    """
    shells = get_completion_class(shell)
    assert shells is not None, "click has all that can be chosen"
    script = shells(ctx.find_root().command, {}, "perceptron", _VARIABLE)
    click.echo(script.source_template % script.source_vars())  # `source` would also ask bash for its version


COMMANDS = {"completion": completion}
