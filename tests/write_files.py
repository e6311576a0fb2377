"""Real files for the tests of reading and scanning, written into a temporary folder.

And short looks at what a scan made of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from resdx.data.cases import Finding, Manifest


def write_picture(path: Path, value: int = 100) -> Path:
    """A small grey picture; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 3), value).save(path)
    return path


def pictures(root: Path, *names: str) -> Path:
    """Small grey pictures below `root`."""
    for name in names:
        write_picture(root / name)
    return root


def finding(manifest: Manifest, code: str) -> Finding | None:
    """The finding of that code, if there is one."""
    return next((found for found in manifest.findings if found.code == code), None)


def labels(manifest: Manifest) -> dict[str, str | None]:
    """Case id -> labels joined by |, None where not assessed."""
    return {case.id: "|".join(case.labels) if case.labels is not None else None for case in manifest.cases}


def write_dicom(path: Path, stored: NDArray[Any], **fields: Any) -> Path:
    """A DICOM file of `stored` values, (H, W) or (frames, H, W), with any further fields."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    if stored.ndim == 3:
        dataset.NumberOfFrames = len(stored)
    dataset.BitsAllocated = dataset.BitsStored = stored.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()
    for name, value in fields.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path
