"""Commands that use a finished model: answers for files, and export."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from .commands import command
from .options import alpha, opening, refer


@command("predict")
@opening
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--engine",
    type=click.Choice(["auto", "torch", "onnx", "openvino", "bf16", "int8"]),
    default="auto",
    show_default=True,
    help="Of those that RUN was exported for; auto takes the fastest.",
)
@click.option(
    "--maps",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write each picture with its class activation map.",
)
@click.option(
    "--boxes",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write each picture with the boxes that are found.",
)
@click.option(
    "--strips",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Draw each electrocardiogram with its heartbeats marked.",
)
@alpha()
@refer()
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict_command(
    run: str,
    recipe: str,
    files: tuple[str, ...],
    engine: str,
    maps: Path | None,
    boxes: Path | None,
    strips: Path | None,
    alpha: float | None,
    refer: Any,
    as_csv: bool,
    as_json: bool,
) -> None:
    """RUN is a finished run, the directory of a cross-validation, or an exported folder."""
    from ...inference.files import predict_files, to_csv, to_json, to_table

    if as_csv and as_json:
        raise click.UsageError("Choose one of --csv and --json.")
    answers, failures = predict_files(
        run,
        files,
        engine=engine,
        maps=maps,
        boxes=boxes,
        strips=strips,
        recipe=recipe,
        alpha=alpha,
        refer=refer,
        quiet=as_csv or as_json,
    )
    click.echo((to_csv if as_csv else to_json if as_json else to_table)(answers), nl=False)
    for _, reason in failures:
        click.echo(f"resdx: {reason}", err=True)
    if failures:
        sys.exit(1)


@command("export")
@opening
@click.option(
    "--to",
    "engines",
    multiple=True,
    type=click.Choice(["onnx", "openvino", "bf16", "int8"]),
    default=("int8",),
    show_default=True,
    help="Engine; may be repeated.",
)
@click.option(
    "--guard/--no-guard",
    default=True,
    help="Refuse int8 that loses more than 0.005 of AUROC, or flips more than 1 % and more than 3 decisions [default: guard].",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export_command(run: str, recipe: str, engines: tuple[str, ...], guard: bool, as_json: bool) -> None:
    from ...files import read_json
    from ...inference.bundle import EXPORTED
    from ...runs.run import Run
    from ...studies.export import export

    opened = Run.open(run, recipe=recipe, quiet=as_json)
    folders = export(opened, *engines, guard=guard)
    if as_json:
        told = [{"folder": str(folder), **read_json(folder / EXPORTED)} for folder in folders]
        click.echo(json.dumps([{key: one[key] for key in ("folder", "engine", "parity", "note")} for one in told]))
