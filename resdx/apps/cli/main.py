"""The command line: `resdx COMMAND`. Each command parses, calls one function and prints."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from ... import __version__
from ...errors import ResdxError
from .commands import COMMANDS, LOADED


class _Group(click.Group):
    """Loads a command when it is asked for; an error of resdx becomes its sentence and exit status 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        return LOADED[cmd_name]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):  # click would load every command for its sentence
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ResdxError as error:
            click.echo(f"resdx: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo(
                "resdx: stopped; go on with `resdx resume RUN`, or with the same command where it was `resdx pretrain`", err=True
            )
            sys.exit(130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="resdx")
def cli() -> None:
    """From a folder of medical images to a ResNet-50 diagnosis model one can defend.

    For research, not for diagnosis of patients.
    """


def main() -> None:
    """The program `resdx`."""
    cli(prog_name="resdx")
