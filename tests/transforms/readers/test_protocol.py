"""Readers say themselves how files open up, which flags their cases get and what their pictures are like."""

import numpy as np
import pytest

from resdx.errors import DataError
from resdx.transforms.readers.copies import ReadCopy
from resdx.transforms.readers.dicom import ReadDicom
from resdx.transforms.readers.ecg import ReadBeat
from resdx.transforms.readers.image import ReadImage
from resdx.transforms.readers.nifti import ReadNifti
from resdx.transforms.readers.protocol import (
    cases_in,
    cell_columns,
    files_of,
    flags_of,
    gathered,
    keeps_places,
    leads_of,
    looks_alike,
)
from resdx.transforms.readers.voice import ReadSpectrogram, ReadSpeechRow, ReadVoice
from resdx.transforms.readers.volume import ReadScan

READERS = (ReadImage, ReadDicom, ReadNifti, ReadCopy, ReadScan, ReadBeat, ReadVoice, ReadSpectrogram, ReadSpeechRow)


class ReadPage:
    """A reader of one's own, of files that hold pages."""

    takes, gives = "path", "image"
    suffixes, holds = (".book",), "books"

    def __call__(self, path):
        return np.zeros((2, 2, 1), np.float32)

    def open_file(self, file):
        if "torn" in file:
            raise DataError(f"{file} is torn")
        return [f"{file}#{page}" for page in range(3)]

    def flags(self, paths):
        return [("last",) if path.endswith("#2") else () for path in paths]


def test_a_reader_that_says_nothing_reads_pictures_one_by_one():
    read = ReadImage()
    assert files_of(read) == ((), "images") and leads_of(read) == ()
    assert cases_in(read, "a.png") == ["a.png"] and gathered(read, ["b.png", "a.png"]) == ["b.png", "a.png"]
    assert flags_of(read, ["a.png", "b.png"]) == [(), ()] and not looks_alike(read)


def test_a_reader_of_ones_own_opens_its_files_and_gives_flags():
    read = ReadPage()
    assert files_of(read) == ((".book",), "books")
    paths = cases_in(read, "a.book")
    assert paths == ["a.book#0", "a.book#1", "a.book#2"]
    assert cases_in(read, "a.book#1") == ["a.book#1"]  # one case is named already
    assert cases_in(read, "torn.book") == ["torn.book"]  # reading it says why
    assert flags_of(read, paths) == [(), (), ("last",)]


@pytest.mark.parametrize(
    ("asked", "readers"),
    [
        (keeps_places, {ReadImage, ReadDicom}),
        (looks_alike, {ReadBeat, ReadVoice, ReadSpectrogram, ReadSpeechRow}),
        (leads_of, {ReadBeat}),
        (lambda read: files_of(read)[0], {ReadBeat, ReadVoice, ReadSpectrogram, ReadSpeechRow}),
    ],
    ids=["boxes can be followed", "only identical pictures are copies", "leads", "files that are no pictures"],
)
def test_what_our_readers_say(asked, readers):
    assert {read for read in READERS if asked(read())} == readers


def test_columns_of_a_heat_map_are_those_of_its_picture():
    read = ReadVoice(levels=10, cell=2)
    picture = read.of(np.sin(np.arange(round(read.rate * read.seconds)) / 5))
    assert picture.shape[1] == 2 * cell_columns(read) == 22


def test_slices_of_a_folder_are_gathered_into_a_scan_and_volumes_stay():
    assert gathered(ReadScan(), ["s/10.png", "s/9.png", "v.nii.gz"]) == ["v.nii.gz", "s/9.png#9.png|10.png"]
