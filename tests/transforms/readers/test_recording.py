"""Recordings: WFDB, tables and DICOM give the same signal, filters do what they say, and what is wrong is told."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage

from resdx.data.phantoms.heart import Heart, draw_ecg
from resdx.errors import DataError
from resdx.transforms.readers.recording import (
    at_rate,
    filled,
    find_beats,
    peakedness,
    read_recording,
    without_noise,
)
from resdx.transforms.readers.wfdb import write

RATE = 250.0


@pytest.fixture(scope="module")
def drawn():
    return draw_ecg(Heart.draw(0), "NNNVNANN", rate=RATE)


def record(folder, drawn, name="r"):
    write(folder, name, drawn[0], RATE, ("MLII", "V1"), beats=drawn[1], symbols=["N"] * len(drawn[1]))
    return folder / f"{name}.hea"


def table(path, signal, header="time,MLII,V1", scale=1.0):
    rows = [f"{k / RATE * scale:.4f},{a:.4f},{b:.4f}" for k, (a, b) in enumerate(signal)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def waveform(path, signal, **changes):
    """A DICOM electrocardiogram of 1 microvolt a step."""
    one = Dataset()
    one.MultiplexGroupTimeOffset, one.WaveformOriginality, one.SamplingFrequency = "0", "ORIGINAL", RATE
    one.NumberOfWaveformChannels, one.NumberOfWaveformSamples = 2, len(signal)
    one.WaveformBitsAllocated, one.WaveformSampleInterpretation = 16, "SS"
    one.ChannelDefinitionSequence = []
    for name in ("Lead II", "Lead V1"):
        source, channel = Dataset(), Dataset()
        source.CodeValue, source.CodingSchemeDesignator, source.CodeMeaning = "x", "MDC", name
        channel.ChannelSourceSequence, channel.ChannelSensitivity, channel.ChannelBaseline = [source], "0.001", "0"
        channel.ChannelSensitivityCorrectionFactor, channel.WaveformBitsStored = "1", 16
        one.ChannelDefinitionSequence.append(channel)
    one.WaveformData = np.round(signal * 1000).astype("<i2").tobytes()
    for name, value in changes.items():
        setattr(one, name, value)
    whole = Dataset()
    whole.file_meta = FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = TwelveLeadECGWaveformStorage
    whole.SOPInstanceUID = whole.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    whole.Modality, whole.WaveformSequence = "ECG", [one]
    whole.save_as(path, enforce_file_format=True)
    return path


def test_three_formats_hold_the_same_signal(tmp_path, drawn):
    files = (record(tmp_path, drawn), table(tmp_path / "r.csv", drawn[0]), waveform(tmp_path / "r.dcm", drawn[0]))
    for file, step, lead in zip(files, (0.5 / 200, 1e-4, 0.5e-3), ("MLII", "MLII", "II"), strict=True):
        found = read_recording(str(file))
        assert found.rate == pytest.approx(RATE) and found.leads == (lead, "V1")
        assert np.abs(found.signal - drawn[0]).max() <= step + 1e-9
    assert found.seconds == pytest.approx(len(drawn[0]) / RATE)
    assert (found.lead(("MLII", "ii")) == found.signal[:, 0]).all()


def test_milliseconds_are_a_time_too(tmp_path, drawn):
    assert read_recording(str(table(tmp_path / "ms.csv", drawn[0], "time_ms,a,b", 1000))).rate == pytest.approx(RATE)


def test_one_lead_needs_no_name(tmp_path):
    (tmp_path / "one.csv").write_text("t,whatever\n" + "".join(f"{k / 100},{k % 7}\n" for k in range(200)))
    assert read_recording(f"{tmp_path}/one.csv").lead(("MLII",)).shape == (200,)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("MLII,V1\n1,2\n", "does not say when its samples were taken: its first row is MLII, V1, and it needs a column time"),
        (",time\n0,0\n1,0.01\n", "does not say when its samples were taken: its first row is , time"),
        ("", r"a\.csv is empty; export the recording again"),
        (
            "time,II\n0,1\n0.01,2\n0.02,2\n0.5,3\n",
            r"the times in column 'time' do not go up in equal steps \(row 5\), so there is no .*empty cells",
        ),
        ("time,II\n", "do not go up in equal steps"),
        ("time,II\n0,1\n", "do not go up in equal steps"),
        ("time,II\n0,1\n1,2\n2,3\n", "has 1 samples a second; is the unit of its time right"),
        ("time,II\n0,1\n\n0.01,'NA'\n", "\"'NA'\" in row 4 is no number; leave a cell empty where nothing was recorded"),
        ("time,II,V1\n0,1,2\n0.01,2\n", "row 3 has 2 cells and the first row 3"),
    ],
)
def test_tables_that_are_no_recording(tmp_path, text, what):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=what):
        read_recording(f"{tmp_path}/a.csv")


def test_what_tables_are_often_like(tmp_path):
    rows = "".join(f"{k},{k / 100},{k % 7}\n" for k in range(200))
    (tmp_path / "a.csv").write_text(f",Time (s),ecg\n{rows},,\n")  # the number of the row comes first, and the last row is empty
    found = read_recording(f"{tmp_path}/a.csv")
    assert (found.rate, found.leads, len(found.signal)) == (pytest.approx(100), ("ecg",), 200)
    (tmp_path / "b.csv").write_text("time,ecg,aux\n" + "".join(f"{k / 100},{k % 7},1\n" for k in range(200)))
    with pytest.raises(DataError, match=r"b\.csv: no lead is called MLII or II \(there are ecg, aux\)"):
        read_recording(f"{tmp_path}/b.csv").lead(("MLII", "II"))


@pytest.mark.parametrize("name", ["t", "t (s)", "Elapsed time (s)", "time_ms", "t[ms]", "Time in seconds"])
def test_times_have_many_names(tmp_path, name):
    step = 10 if "ms" in name else 0.01
    (tmp_path / "a.csv").write_text(f"{name},ecg\n" + "".join(f"{k * step},{k % 7}\n" for k in range(200)))
    assert read_recording(f"{tmp_path}/a.csv").rate == pytest.approx(100)


def test_signals_are_steeper_where_beats_are(drawn):
    lead, seconds = drawn[0][:, 0], drawn[1] / RATE
    assert peakedness(lead, RATE, seconds) > 3
    assert peakedness(lead, RATE, seconds[:-1] + 0.4) < 1.5
    assert peakedness(lead, RATE / 2, seconds) < 2
    assert peakedness(np.zeros(1000), RATE, np.arange(1.0, 3.0)) == 0


def test_damaged_records_are_told(tmp_path, drawn):
    file = record(tmp_path, drawn)
    whole = file.read_text()
    file.write_text("\n".join(["r 2", *whole.splitlines()[1:]]) + "\n")
    with pytest.raises(DataError, match="does not say how many samples there are a second"):
        read_recording(str(file))
    lines = whole.splitlines()
    lines[1] = " ".join([*lines[1].split()[:6], "7", *lines[1].split()[7:]])
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="samples of lead MLII do not sum up to the header's checksum; copy the record again"):
        read_recording(str(file))
    file.write_text(whole)
    samples = (tmp_path / "r.dat").read_bytes()
    (tmp_path / "r.dat").write_bytes(samples[:600])
    with pytest.raises(DataError, match=r"r\.hea: its signal file holds fewer samples than it says; copy the record again"):
        read_recording(str(file))
    (tmp_path / "r.dat").unlink()
    with pytest.raises(DataError, match=r"r\.hea names the signal file r\.dat, which is not beside it"):
        read_recording(str(file))
    with pytest.raises(DataError, match=r"gone\.hea is not there"):
        read_recording(f"{tmp_path}/gone.hea")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"a\.txt is no recording: resdx reads WFDB headers"):
        read_recording(f"{tmp_path}/a.txt")


def test_dicom_without_a_waveform_or_a_rate(tmp_path, drawn):
    with pytest.raises(DataError, match="does not say how many samples it has a second"):
        read_recording(str(waveform(tmp_path / "r.dcm", drawn[0], SamplingFrequency=None)))
    header = pydicom.dcmread(waveform(tmp_path / "w.dcm", drawn[0]))
    del header.WaveformSequence
    header.save_as(tmp_path / "w.dcm")
    with pytest.raises(DataError, match=r"holds no waveform \(modality ECG\)"):
        read_recording(f"{tmp_path}/w.dcm")


def test_a_file_that_changes_is_read_again(tmp_path, drawn):
    file = table(tmp_path / "r.csv", drawn[0])
    before = read_recording(str(file)).signal.copy()
    table(file, 2 * drawn[0])
    assert read_recording(str(file)).signal == pytest.approx(2 * before, abs=1e-3)


def test_filters_take_out_baseline_and_mains_and_shift_nothing():
    time = np.arange(int(20 * RATE)) / RATE
    inner = slice(int(5 * RATE), int(15 * RATE))

    def gain(frequency):
        wave = np.sin(2 * np.pi * frequency * time)
        out = without_noise(wave, RATE, (0.5, 40.0))
        return float(np.sqrt(np.mean(out[inner] ** 2) / np.mean(wave[inner] ** 2))), out

    assert gain(0.15)[0] < 0.01 and gain(50)[0] < 0.01 and gain(60)[0] < 0.01
    for frequency in (2, 10, 25):
        strength, out = gain(frequency)
        assert strength == pytest.approx(1, abs=0.03)
        assert out[inner] == pytest.approx(np.sin(2 * np.pi * frequency * time)[inner], abs=0.05)  # no delay


def test_another_rate_keeps_the_signal():
    time = np.arange(3600) / 360
    out = at_rate(np.sin(2 * np.pi * 5 * time), 360, 128)
    assert len(out) == 1280
    assert out[100:-100] == pytest.approx(np.sin(2 * np.pi * 5 * np.arange(1280) / 128)[100:-100], abs=0.01)
    assert (at_rate(time, 360, 360) == time).all()


def test_gaps_are_bridged():
    signal = np.array([np.nan, 1.0, np.nan, 3.0, np.nan])
    assert filled(signal).tolist() == [1, 1, 2, 3, 3]
    assert filled(signal[1:2]) is not None


def test_peaks_are_found_through_gaps(drawn):
    signal = drawn[0][:, 0].copy()
    signal[:40] = np.nan
    found = find_beats(signal, RATE)
    told = drawn[1] / RATE
    assert np.mean([np.abs(told - one).min() < 0.06 for one in found]) > 0.9 and len(found) >= len(told) - 2


@pytest.mark.parametrize("rate", [50.0, 100.0, 360.0, 1000.0])
def test_peaks_are_found_whatever_the_rate(rate):
    signal, peaks = draw_ecg(Heart.draw(1), "N" * 20, rate=rate)
    found = find_beats(signal[:, 0], rate)
    assert len(found) == 20 and np.abs(found - peaks / rate).max() < 0.03


def test_semicolons_and_doubled_columns_are_told(tmp_path):
    for text, what in (
        ("time;II\n0,00;1\n", "is separated by semicolons; save it with commas"),
        ("time\tII\n0.00\t1\n", "is separated by tabs; save it with commas"),
        ("time,II,II\n0,1,2\n0.01,1,2\n", "has several columns called 'II'"),
    ):
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(DataError, match=what):
            read_recording(f"{tmp_path}/a.csv")


def test_times_may_be_rounded(tmp_path):
    (tmp_path / "a.csv").write_text("time,II\n" + "".join(f"{k / 360:.3f},{k % 9}\n" for k in range(2000)))
    assert read_recording(f"{tmp_path}/a.csv").rate == pytest.approx(360, rel=1e-3)
