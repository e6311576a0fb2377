"""Cases and the persons they show.

Sources of manifests, labels and tasks, the audit, the split by person, and phantoms of known truth. Nothing here knows of
networks or runs.
"""

from .cases import Box, Case, Finding, Manifest, Prediction
from .sources.detect import detect
from .sources.ecg import Heartbeats
from .sources.folders import (
    Copies,
    DicomFolder,
    FilenamePattern,
    FolderPerClass,
    ManifestCsv,
    Npz,
    Scans,
    Source,
    Table,
    Unlabelled,
)
from .sources.pascal_voc import Voc
from .sources.voice import SpeechTable, Voices
from .split import RandomImages, ShippedParts, Split
from .tasks import Classify, Detect, MultiLabel, Ordinal

__all__ = [
    "Box",
    "Case",
    "Classify",
    "Copies",
    "Detect",
    "DicomFolder",
    "FilenamePattern",
    "Finding",
    "FolderPerClass",
    "Heartbeats",
    "Manifest",
    "ManifestCsv",
    "MultiLabel",
    "Npz",
    "Ordinal",
    "Prediction",
    "RandomImages",
    "Scans",
    "ShippedParts",
    "Source",
    "SpeechTable",
    "Split",
    "Table",
    "Unlabelled",
    "Voc",
    "Voices",
    "detect",
]
