"""An exported model: a folder that answers without the run it came from, and without PyTorch.

    FOLDER/export.json  familiarity.safetensors  model.onnx | model.xml model.bin  SHA256SUMS

export.json holds the records of the read and prepare steps, the calibration and how far the answers lie from PyTorch's. Opening a
folder executes nothing of it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.numpy import load_file

from .. import transforms as transforms  # makes the steps known by their names
from ..errors import RunError
from ..files import digest, read_json
from ..records import from_record
from .calibration import Calibration
from .engines import Engine
from .engines.onnx import Onnx
from .engines.openvino import Openvino
from .ood import OodScore

FORMAT = 1  # of the folder; raised when an older resdx could not read it
SUMS = "SHA256SUMS"  # as sha256sum writes and checks it
STRAY = (".DS_Store", "Thumbs.db", "desktop.ini")  # what desktops leave in folders that they show
EXPORTED = "export.json"  # what makes a folder an exported model
ENGINES: dict[str, type[Onnx] | type[Openvino]] = {"onnx": Onnx, "openvino": Openvino, "bf16": Openvino, "int8": Openvino}
LIBRARIES = {Onnx: "onnxruntime", Openvino: "openvino"}  # what an engine needs


class Bundle(NamedTuple):
    """What an exported folder holds: the fields of a Predictor."""

    name: str
    read: Any
    prepare: tuple[Any, ...]
    engines: tuple[Engine, ...]
    calibration: Calibration
    ood_scores: tuple[OodScore, ...]


def read_bundle(folder: Path, engine: str = "auto") -> Bundle:
    """The model of a folder that `resdx export` wrote.

    Raises:
        RunError: a file is missing or has changed, the folder is of another version or for another engine, or the engine is not
            installed.
    """
    check(folder)
    about = read_json(folder / EXPORTED)
    try:
        if (found := about["format"]) != FORMAT:
            raise RunError(f"{folder} has export format {found}, this resdx reads {FORMAT}; export it again")
        name, run = str(about["engine"]), str(about["run"])
        read, prepare, calibration = (from_record(about[key]) for key in ("read", "prepare", "calibration"))
        if name not in ENGINES or not isinstance(calibration, Calibration) or read.gives != prepare[0].takes:
            raise TypeError("it names another engine, calibration or reading step")
        ood_score = OodScore.from_arrays(load_file(folder / "familiarity.safetensors"))
    except (LookupError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise RunError(
            f"{folder / EXPORTED} is not what resdx writes ({error}); copy the folder again, or export it again"
        ) from error
    if engine not in ("auto", name):
        raise RunError(f"{folder} was exported for {name}, not for {engine}; leave out --engine, or export it for {engine}")
    return Bundle(run, read, prepare, (load_engine(folder, name),), calibration, (ood_score,))


def can_load(name: str) -> bool:
    """Whether what an engine needs is installed."""
    return importlib.util.find_spec(LIBRARIES[ENGINES[name]]) is not None


def load_engine(folder: Path, name: str) -> Engine:
    """The engine of a folder. Raises RunError where it is not installed."""
    return ENGINES[name](folder, name)


def sums(folder: Path) -> str:
    """The text of SHA256SUMS: a line a file."""
    names = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_file() and not (path.name == SUMS or path.name in STRAY or path.name.startswith("._"))
    )
    return "".join(f"{digest(folder / name)}  {name}\n" for name in names)


def check(folder: Path) -> None:
    """Raise RunError where a file of the folder is missing, is too many, or has changed since the export."""
    if not (folder / SUMS).is_file():
        raise RunError(f"{folder} has no {SUMS}, so its files cannot be checked; export it again")
    try:
        said = _by_name((folder / SUMS).read_text())
    except ValueError as error:
        raise RunError(f"{folder / SUMS} is not a list of hashes; copy the folder again, or export it again") from error
    found = _by_name(sums(folder))  # as the files are now
    for name in sorted(said.keys() | found.keys()):
        if said.get(name) != found.get(name):
            how = (
                "is missing"
                if name not in found
                else "is not of the export"
                if name not in said
                else "has changed since the export"
            )
            raise RunError(f"{folder / name} {how}; copy the folder again, or export it again")


def _by_name(text: str) -> dict[str, str]:
    return {name: told for told, name in (line.split("  ", 1) for line in text.splitlines())}
