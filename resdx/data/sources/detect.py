"""What a folder or file holds, found out."""

from __future__ import annotations

from pathlib import Path

from ...errors import DataError
from ...transforms.readers.paths import DICOM_SUFFIXES, file_kind
from .folders import GROUP_NAMES, LABEL_NAMES, MOST_CLASSES, PATH_NAMES, FolderPerClass, ManifestCsv, Npz, Source, class_and_part
from .listing import LAYOUTS, list_images
from .tables import Table, find_column, find_table, read_rows


def detect(root: Path) -> Source:
    """The source for data that came without a recipe: what lies at `root` decides.

    Raises:
        DataError: nothing there, or no layout that resdx knows; the layouts that work are named.
    """
    if not root.exists():
        raise DataError(f"{root} is not there")
    if root.is_file():
        return _detect_file(root)
    if (root / "manifest.csv").is_file():
        return ManifestCsv()
    files, _findings = list_images(root)
    if not files and any(root.glob("*.npz")):
        return Npz()
    if not files:
        raise DataError(f"{root} holds no images; {LAYOUTS}")
    classes = {name for name, _part in class_and_part(files).values() if name}
    if 2 <= len(classes) <= MOST_CLASSES:
        return FolderPerClass()
    if any(root.glob("*.csv")):
        return _guess_table(root, "")
    if len(classes) > MOST_CLASSES:
        raise DataError(f"{root} has {len(classes)} folders, which look like persons rather than classes; {LAYOUTS}")
    if files[0].lower().endswith(DICOM_SUFFIXES) or file_kind(f"{root}/{files[0]}") == "dicom":
        raise DataError(f"{root} holds DICOM files without class folders; {LAYOUTS}, or a recipe with DicomFolder(label=KEYWORD)")
    only = f"only one class ({classes.pop()})" if classes else "no class folders"
    raise DataError(f"{root} holds {len(files)} images but {only}; {LAYOUTS}")


def _detect_file(file: Path) -> Source:
    kind = file.suffix.lower()
    if kind == ".npz":
        return Npz(file=file.name)
    if kind not in (".csv", ".tsv"):
        raise DataError(f"{file} is one file; {LAYOUTS}")
    if {"path", "labels"} <= set(read_rows(file)[0]):
        return ManifestCsv(file=file.name)
    return _guess_table(file.parent, file.name)


def _guess_table(root: Path, file: str) -> Table:
    """A Table by the column names that people use."""
    name, table = find_table(root, file)
    row = read_rows(table)[0]
    path, label = find_column(row, PATH_NAMES), find_column(row, LABEL_NAMES)
    if not path or not label:
        lacks = "file name" if not path else "class"
        raise DataError(
            f"{table}: no column is called like a {lacks} (there are {', '.join(row)}); rename them to path and labels"
        )
    return Table(file=name, path=path, label=label, group=find_column(row, GROUP_NAMES))
