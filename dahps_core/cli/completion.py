"""`dahps completion`: what makes a shell complete the commands, their options and folders."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands, options and folders.

    In ~/.bashrc: eval "$(dahps completion bash)"; in ~/.zshrc the same with zsh, after compinit; for fish:
    dahps completion fish > ~/.config/fish/completions/dahps.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root().command
    print(found(root, {}, "dahps", "_DAHPS_COMPLETE").source())
