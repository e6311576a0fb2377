"""Recordings of voices and tables of what was measured in them -> a Manifest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError, count
from ...records import record
from ...transforms.readers.voice import CLIPPED, read_sound, speech_rows
from ..cases import Case, Finding, Manifest
from .folders import class_and_part
from .listing import check_pattern, close, some, walk, with_groups

Pairs = tuple[tuple[str, str], ...]
OTHER_SOUNDS = (".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff")


@record
class Voices:
    """`class/.../file.wav`, for ReadVoice and ReadSpectrogram to read.

    `group` and `rename` are those of FolderPerClass.

    Duration and loudness of each recording are kept in the manifest, and what differs between recordings is told.
    """

    group: str | None = None
    rename: Pairs = ()

    def __post_init__(self) -> None:
        check_pattern(self.group)

    def scan(self, root: Path) -> Manifest:
        if not root.is_dir():
            raise DataError(
                f"{root} is {'a file, not a folder' if root.exists() else 'not there'}; give a folder of WAV files, a "
                f"folder a class"
            )
        every = sorted(walk(str(root)))
        files = [file for file in every if file.lower().endswith(".wav") and not file.rpartition("/")[2].startswith(".")]
        if not files:
            raise DataError(f"{root} holds no WAV files; put them in a folder a class (DATA/healthy/*.wav, DATA/ill/*.wav)")
        places, rename = class_and_part(files), dict(self.rename)
        sounds: dict[str, Heard] = {}
        for file in files:
            try:
                sound = read_sound(f"{root}/{file}")
            except DataError:
                continue  # the audit lists it
            sounds[file] = Heard(sound.seconds, sound.loudness, sound.rate, sound.channels, sound.clipped)
        cases = [
            Case(id=file, path=file, labels=(rename.get(name, name),), part=part, extra=_heard(sounds.get(file)))
            for file, (name, part) in places.items()
            if name
        ]
        findings = _findings(sounds)
        if others := [file for file in every if file.lower().endswith(OTHER_SOUNDS)]:
            text = (
                f"{count(len(others), 'recording')} of another kind than WAV, left out: {some(others)}; convert them (ffmpeg "
                f"-i a.mp3 a.wav)"
            )
            findings.append(Finding("other-recordings", "look", text, tuple(others), {"files": len(others)}))
        if loose := [file for file, (name, _) in places.items() if not name]:
            text = f"{count(len(loose), 'recording')} in no class folder, left out: {some(loose)}"
            findings.append(Finding("files-without-class", "look", text, tuple(loose)))
        return close(root, with_groups(cases, self.group), findings)


@dataclass(frozen=True)
class Heard:
    """What is kept of a recording.

    Seconds, dB of full scale, Hz, channels, and the fraction of samples at full scale.
    """

    seconds: float
    loudness: float
    rate: float
    channels: int
    clipped: float


def _heard(sound: Heard | None) -> dict[str, str]:
    if not sound:
        return {}
    rate, channels = f"{sound.rate:g}", f"{sound.channels}"
    return {"seconds": f"{sound.seconds:.4f}", "loudness": f"{sound.loudness:.2f}", "rate": rate, "channels": channels}


def _findings(sounds: dict[str, Heard]) -> list[Finding]:
    """Rates and channels that differ, and recordings that are distorted."""
    out = []
    if clipped := [file for file, sound in sounds.items() if sound.clipped > CLIPPED]:
        text = (
            f"{count(len(clipped), 'recording')} of {len(sounds)} clipped (more than {CLIPPED:.0%} of the samples at full "
            f"scale): {some(clipped)}; record them anew, softer"
        )
        out.append(Finding("clipped-recordings", "look", text, tuple(clipped), {"count": len(clipped)}))
    rates = Counter(sound.rate for sound in sounds.values())
    if len(rates) > 1:
        said = ", ".join(f"{number} at {rate:,.0f} Hz" for rate, number in rates.most_common())
        out.append(Finding("sampling-rates", "note", f"recordings have several sampling rates ({said}) and are brought to one"))
    several = [file for file, sound in sounds.items() if sound.channels > 1]
    if several:
        text = f"{count(len(several), 'recording')} of several channels, which are averaged: {some(several)}"
        out.append(Finding("several-channels", "note", text, tuple(several)))
    return out


@record
class SpeechTable:
    """Rows of a table of speech features in the layout of UCI 470 (Sakar et al. 2019).

    A case is `pd_speech_features.csv#row`, for ReadSpeechRow to read. Two lines of headings, the columns `id` (the speaker),
    `gender` (1 = male) and `class`; several rows are of one speaker.
    """

    file: str = "pd_speech_features.csv"
    rename: Pairs = (("0", "control"), ("1", "parkinson"))

    def scan(self, root: Path) -> Manifest:
        table = root if root.is_file() else root / self.file
        if not table.is_file():
            raise DataError(f"{table} is not there; it needs the two lines of headings and the rows of the UCI 470 table")
        names, rows = speech_rows(str(table))
        at = {name: k for k, name in enumerate(names)}
        rename = dict(self.rename)
        cases = [
            Case(
                id=f"{table.name}#{k}",
                path=f"{table.name}#{k}",
                group=row[at["id"]].strip(),
                labels=(rename.get(label := row[at["class"]].strip(), label),),
                sex={"1": "M", "0": "F"}.get(row[at["gender"]].strip(), ""),
            )
            for k, row in enumerate(rows)
        ]
        return close(table.parent, cases, [])
