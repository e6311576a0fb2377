"""Voices as pictures.

WAV files of every kind, what is the same whatever the microphone, heat maps, spectrograms, tables, and bad recordings.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from resdx.data.phantoms import draw_layout
from resdx.data.phantoms.voice import draw_voice
from resdx.errors import DataError, RecipeError
from resdx.transforms.readers.voice import (
    RANGES,
    ReadSpectrogram,
    ReadSpeechRow,
    ReadVoice,
    heat_map,
    is_cut_off,
    read_sound,
    speech_rows,
    spoken,
)
from resdx.transforms.wavelets import FAMILIES, statistics, tqwt

RATE = 24000
VOICE = draw_voice(1, 0, ill=False)


def sound(path, signal=VOICE, rate=RATE, kind=np.int16):
    if np.issubdtype(kind, np.integer):
        info = np.iinfo(kind)
        half = (info.max - info.min + 1) / 2
        signal = np.clip(np.round(signal * half + (half if info.min == 0 else 0)), info.min, info.max)
    wavfile.write(path, rate, signal.astype(kind))
    return str(path)


@pytest.mark.parametrize(
    ("kind", "step"), [(np.uint8, 1 / 64), (np.int16, 1e-4), (np.int32, 1e-6), (np.float32, 1e-6), (np.float64, 1e-12)]
)
def test_every_kind_of_samples_is_the_same_sound(tmp_path, kind, step):
    found = read_sound(sound(tmp_path / "a.wav", kind=kind))
    assert found.signal == pytest.approx(VOICE, abs=step)
    assert (found.rate, found.channels, found.clipped) == (RATE, 1, 0)
    assert found.seconds == pytest.approx(0.6) and found.loudness == pytest.approx(20 * np.log10(VOICE.std()), abs=0.5)


def test_channels_are_averaged_and_clipping_is_counted(tmp_path):
    found = read_sound(sound(tmp_path / "a.wav", np.stack([VOICE, -VOICE, VOICE], 1)))
    assert found.channels == 3 and found.signal == pytest.approx(VOICE / 3, abs=1e-4)
    assert read_sound(sound(tmp_path / "b.wav", 20 * VOICE)).clipped > 0.05


def test_loudness_offset_and_rate_leave_no_trace(tmp_path):
    plain = ReadVoice()(sound(tmp_path / "a.wav"))
    assert plain.shape == (144, 144, 1) and plain.dtype == np.float32 and plain.min() >= 0 and plain.max() <= 1
    loud = ReadVoice()(sound(tmp_path / "b.wav", 0.5 * VOICE + 0.1, kind=np.float64))
    assert np.median(np.abs(loud - plain)) < 0.01
    twice = np.fft.irfft(np.pad(np.fft.rfft(VOICE), (0, len(VOICE) // 2)), 2 * len(VOICE)) * 2
    other = ReadVoice()(sound(tmp_path / "c.wav", twice, 2 * RATE))
    rows = [k for k, name in enumerate(FAMILIES) if name in ("energy", "stdValue", "TKEO_mean")]
    cells = [12 * k for k in rows]
    assert np.abs(other[cells] - plain[cells])[:, 20:].max() < 0.05  # but for the highest frequencies, which resampling cuts


def test_cells_are_the_statistics_over_their_ranges(tmp_path):
    values = statistics(tqwt(spoken(sound(tmp_path / "a.wav"), RATE, 0.48), 2, 4, 35))
    picture = ReadVoice()(str(tmp_path / "a.wav"))[..., 0]
    assert (picture == np.kron(picture[::12, ::4], np.ones((12, 4)))).all()
    cells, names = picture[::12, ::4], list(FAMILIES)
    energy = np.clip((np.log10(values[0]) + 8) / 10, 0, 1)
    assert cells[0] == pytest.approx(energy, abs=1e-6)
    assert cells[names.index("skewnessValue")] == pytest.approx(np.clip((values[10] + 3) / 6, 0, 1), abs=1e-6)
    median = cells[names.index("medianValue")]
    assert (np.sign(np.round(median - 0.5, 6)) == np.sign(values[5]) * (np.abs(values[5]) > 1e-4)).all()
    assert list(RANGES) == names


def test_heat_map_has_no_holes():
    assert np.isfinite(heat_map(np.zeros((12, 36)), 1)).all() and heat_map(np.full((12, 36), 1e30), 2).max() == 1


def test_spectrogram_shows_a_tone_where_it_is(tmp_path):
    time = np.arange(round(0.6 * RATE)) / RATE
    picture = ReadSpectrogram()(sound(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 2000 * time)))[..., 0]
    rows, columns = picture.shape
    assert rows == 257 and columns == 1 + (7680 - 400) // 80
    assert (np.abs(rows - 1 - picture.argmax(0) - 2000 / 16000 * 512) <= 1).all() and picture.max() == 1
    assert np.median(picture) < 0.2


def test_bad_recordings_are_told(tmp_path):
    read = ReadVoice()
    with pytest.raises(DataError, match=r"a\.wav is silent \(-\d+ dB of full scale\)"):
        read(sound(tmp_path / "a.wav", 1e-5 * VOICE))
    with pytest.raises(DataError, match=r"a\.wav is silent"):
        read(sound(tmp_path / "a.wav", np.full(20000, 0.5)))
    with pytest.raises(DataError, match=r"a\.wav is 0\.1 s long, and 0\.48 s are looked at"):
        read(sound(tmp_path / "a.wav", VOICE[:2400]))
    quiet = VOICE.copy()
    quiet[1000:-1000] = 0
    with pytest.raises(DataError, match=r"the middle 0\.48 s of .*a\.wav are silent"):
        read(sound(tmp_path / "a.wav", quiet))
    with pytest.raises(DataError, match="holds values that are not finite"):
        read(sound(tmp_path / "a.wav", np.where(np.arange(len(VOICE)) == 5, np.nan, VOICE), kind=np.float32))
    (tmp_path / "b.wav").write_text("no sound")
    with pytest.raises(DataError, match=r"b\.wav cannot be read as a WAV recording"):
        read(f"{tmp_path}/b.wav")
    with pytest.raises(DataError, match=r"gone\.wav is not there"):
        read(f"{tmp_path}/gone.wav")
    wavfile.write(tmp_path / "e.wav", RATE, np.zeros(0, np.int16))
    with pytest.raises(DataError, match=r"e\.wav (holds no sound|cannot be read)"):
        read(f"{tmp_path}/e.wav")
    sound(tmp_path / "a.wav")
    with pytest.raises(DataError, match="a recording has no parts; leave out #3"):
        read(f"{tmp_path}/a.wav#3")


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(RecipeError, match="levels must lie between 1 and 37 for 0.48 s at 24000 Hz, not 60".replace(".", r"\.")):
        ReadVoice(levels=60)
    with pytest.raises(RecipeError, match=r"ReadVoice.cell cannot be 0: it takes a whole number from 1 to 16 pixels"):
        ReadVoice(cell=0)
    with pytest.raises(RecipeError, match="a hop up to the window"):
        ReadSpectrogram(hop=0.1)


# the table of UCI 470


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech") / "set"
    draw_layout("parkinson-speech", folder, persons=4)
    return folder / "pd_speech_features.csv"


def test_rows_of_the_table_are_heat_maps_of_their_own_values(table):
    names, rows = speech_rows(str(table))
    assert len(rows) == 12 and len(names) == 755
    picture = ReadSpeechRow()(f"{table}#7")
    assert picture.shape == (144, 144, 1)
    for row, column in ((0, 0), (3, 35), (11, 17)):
        name = f"tqwt_{list(FAMILIES)[row]}_dec_{column + 1}"
        value = float(rows[7][names.index(name)])
        want = 0.5 + np.sign(value) * np.log10(1 + abs(value) / 1e-8) / 28
        assert picture[12 * row, 4 * column, 0] == pytest.approx(want, abs=1e-6)


def test_bad_tables_are_told(table, tmp_path):
    with pytest.raises(DataError, match=r"has 12 rows, counted from 0, so there is no row 12"):
        ReadSpeechRow()(f"{table}#12")
    with pytest.raises(DataError, match=r"name a row of the table by its number"):
        ReadSpeechRow()(str(table))
    lines = table.read_text().splitlines()
    other = tmp_path / "t.csv"
    other.write_text("\n".join(lines[2:]))
    with pytest.raises(DataError, match=r"no column 'id' in its first two lines; the layout is that of pd_speech_features\.csv"):
        speech_rows(str(other))
    other.write_text("\n".join([*lines[:3], lines[3] + ",9"]))
    with pytest.raises(DataError, match="row 1 has 756 cells, the headings 755"):
        speech_rows(str(other))
    cells = lines[2].split(",")
    for bad, what in (
        ("nan", "holds values that are not finite"),
        ("x", "cannot be read as a table of speech features at row 0"),
    ):
        cells[400] = bad
        other.write_text("\n".join([*lines[:2], ",".join(cells)]))
        with pytest.raises(DataError, match=what):
            ReadSpeechRow()(f"{other}#0")


def test_a_cut_off_file_is_told_whatever_other_threads_read(tmp_path):
    whole, cut = sound(tmp_path / "whole.wav"), tmp_path / "cut.wav"
    cut.write_bytes(Path(whole).read_bytes()[:-200])

    def is_read(file):
        try:
            return len(read_sound(file).signal) == len(VOICE)
        except DataError as error:
            return "is cut off" not in str(error)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(is_read, [whole, str(cut)] * 200)) == [True, False] * 200


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF - 36])
def test_a_stream_whose_length_nobody_knew_is_read(tmp_path, length):
    file = Path(sound(tmp_path / "a.wav"))
    stream = bytearray(file.read_bytes())
    stream[40:44] = length.to_bytes(4, "little")  # as a programme leaves it that writes into a pipe
    file.write_bytes(stream)
    assert not is_cut_off(str(file)) and len(read_sound(str(file)).signal) == len(VOICE)


def test_other_kinds_of_wav_files_are_found_cut_off(tmp_path):
    plain = Path(sound(tmp_path / "a.wav")).read_bytes()
    fmt, data = plain[12:36], plain[44:]
    odd = b"junk" + (3).to_bytes(4, "little") + b"abc\0"  # chunks have even lengths
    long = b"ds64" + (28).to_bytes(4, "little") + bytes(8) + len(data).to_bytes(8, "little") + bytes(12)
    kinds = {
        "odd": b"RIFF" + bytes(4) + b"WAVE" + odd + fmt + b"data" + len(data).to_bytes(4, "little"),
        "rf64": b"RF64" + b"\xff" * 4 + b"WAVE" + long + fmt + b"data" + b"\xff" * 4,
        "rifx": b"RIFX"
        + bytes(4)
        + b"WAVE"
        + b"fmt "
        + (16).to_bytes(4, "big")
        + bytes(16)
        + b"data"
        + len(data).to_bytes(4, "big"),
    }
    for name, head in kinds.items():
        for end, said in ((len(data), False), (len(data) - 2, True)):
            (tmp_path / name).write_bytes(head + data[:end])
            assert is_cut_off(str(tmp_path / name)) is said, name


def test_recordings_that_are_cut_off_or_in_odd_units_are_told(tmp_path):
    whole = tmp_path / "a.wav"
    sound(whole)
    whole.write_bytes(whole.read_bytes()[:9000])
    with pytest.raises(DataError, match=r"a\.wav is cut off: its header promises more sound than there is"):
        read_sound(str(whole))
    with pytest.raises(DataError, match=r"b\.wav holds floats up to [\d,]+, and full scale is 1"):
        read_sound(sound(tmp_path / "b.wav", 30000 * VOICE, kind=np.float32))
