"""What is given to be answered opens up by how the run reads."""

import pytest
from write_files import pictures

from resdx.data.phantoms import draw_layout
from resdx.errors import DataError
from resdx.inference.inputs import opened
from resdx.transforms.readers.image import ReadImage
from resdx.transforms.readers.voice import ReadSpectrogram, ReadSpeechRow, ReadVoice


def test_folders_of_pictures_and_of_sounds(tmp_path):
    pictures(tmp_path, "a/1.png", "2.jpg")
    (tmp_path / "a" / "x.WAV").write_bytes(b"")
    assert opened(tmp_path, ReadImage()) == [f"{tmp_path}/2.jpg", f"{tmp_path}/a/1.png"]
    for read in (ReadVoice(), ReadSpectrogram()):
        assert opened(tmp_path, read) == [f"{tmp_path}/a/x.WAV"]
    assert opened(tmp_path / "gone.wav", ReadVoice()) == [f"{tmp_path}/gone.wav"]  # reading it says why


def test_a_table_is_its_rows(tmp_path):
    draw_layout("parkinson-speech", tmp_path / "set", persons=2)
    table = tmp_path / "set" / "pd_speech_features.csv"
    assert opened(table, ReadSpeechRow()) == [f"{table}#{k}" for k in range(6)] == opened(tmp_path, ReadSpeechRow())
    assert opened(tmp_path / "set" / f"{table.name}#4", ReadSpeechRow()) == [f"{table}#4"]
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert opened(tmp_path / "other.csv", ReadSpeechRow()) == [f"{tmp_path}/other.csv"]


def test_empty_folders_are_told(tmp_path):
    with pytest.raises(DataError, match="holds no images; name image files"):
        opened(tmp_path, ReadImage())
    with pytest.raises(DataError, match=r"holds no recordings; name files \(\.wav\)"):
        opened(tmp_path, ReadVoice())
    with pytest.raises(DataError, match=r"holds no tables; name files \(\.csv\)"):
        opened(tmp_path, ReadSpeechRow())
