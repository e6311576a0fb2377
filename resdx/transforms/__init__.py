"""From a path to an array and from an array to the network's input.

Readers, steps done once, random steps for training. Nothing here knows of labels, persons or networks; what a data set holds
is found in `data`.
"""

from importlib import import_module
from typing import Any

from .image import (
    CircularCrop,
    Clahe,
    ContourCrop,
    CropForeground,
    Equalise,
    EyeRadius,
    Grey,
    HighEmphasis,
    Rescale,
    Resize,
    Smooth,
    SubtractBlur,
    UnsharpMask,
)
from .lung import LungCrop, LungMask
from .readers.copies import ReadCopy
from .readers.dicom import ReadDicom
from .readers.ecg import ReadBeat, WignerVille
from .readers.image import ReadImage
from .readers.nifti import ReadNifti
from .readers.voice import ReadSpectrogram, ReadSpeechRow, ReadVoice
from .readers.volume import ReadScan

_RANDOM = (
    "Affine",
    "RandomResizedCrop",
    "RandomErasing",
    "Flip",
    "ChannelJitter",
    "ColorJitter",
)  # of `augment`, which needs PyTorch: an exported model answers without

__all__ = [
    "Affine",
    "ChannelJitter",
    "CircularCrop",
    "Clahe",
    "ColorJitter",
    "ContourCrop",
    "CropForeground",
    "Equalise",
    "EyeRadius",
    "Flip",
    "Grey",
    "HighEmphasis",
    "LungCrop",
    "LungMask",
    "RandomErasing",
    "RandomResizedCrop",
    "ReadBeat",
    "ReadCopy",
    "ReadDicom",
    "ReadImage",
    "ReadNifti",
    "ReadScan",
    "ReadSpectrogram",
    "ReadSpeechRow",
    "ReadVoice",
    "Rescale",
    "Resize",
    "Smooth",
    "SubtractBlur",
    "UnsharpMask",
    "WignerVille",
]


def __getattr__(name: str) -> Any:
    if name not in _RANDOM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".augment", __name__), name)
