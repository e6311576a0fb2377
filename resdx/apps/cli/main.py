"""The command line: `resdx COMMAND`. Each command parses, calls one function and prints."""

from __future__ import annotations

import sys
from typing import Any

import click

from ... import __version__
from ...errors import ResdxError
from . import models, research, runs


class _Group(click.Group):
    """Turns an error of resdx into its sentence and exit status 1, and lists commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

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
    """From a folder of medical images to a ResNet-50 diagnosis model one can defend. For research, not for diagnosis of patients."""


COMMANDS = (
    runs.run_command,
    models.predict_command,
    models.export_command,
    runs.report_command,
    runs.resume_command,
    research.compare_command,
    research.recipes_command,
    runs.scan_command,
    *runs.STAGE_COMMANDS,
    runs.evaluate_command,
    research.strategies_command,
    research.pretrain_command,
    research.review_command,
    research.forensics_command,
    research.gallery_command,
)
for _command in COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """The program `resdx`."""
    cli(prog_name="resdx")
