"""Annotated records become cases: kinds, persons, parts, and what is left out or missing."""

import shutil

import numpy as np
import pytest

from resdx.data.audit.audit import audit
from resdx.data.phantoms import draw_layout
from resdx.data.phantoms.heart import Heart, draw_ecg
from resdx.data.sources.ecg import AAMI, DS1, DS2, PACED, Heartbeats
from resdx.errors import DataError, RecipeError
from resdx.transforms.readers.ecg import ReadBeat
from resdx.transforms.readers.recording import read_recording
from resdx.transforms.readers.wfdb import write


def record(folder, name, kinds="NNVA", comments=("69 M 1085 1629 x1", "Aldomet")):
    folder.mkdir(exist_ok=True, parents=True)
    signal, peaks = draw_ecg(Heart.draw(0), kinds)
    write(folder, name, signal, 360, ("MLII", "V1"), beats=peaks, symbols=list(kinds), comments=comments)
    return folder


def test_divisions_are_those_of_de_chazal():
    assert (len(DS1), len(DS2)) == (22, 22) and not set(DS1) & set(DS2) and not {*DS1, *DS2} & set(PACED)
    assert dict(AAMI) | {"N": "N"} == dict(AAMI) and sorted(dict(AAMI)) == sorted("NLRejAaJSVEF")


def test_classes_persons_parts_age_and_sex(tmp_path):
    for name in ("100", "101", "102", "201", "202"):
        record(tmp_path / "deep", name)
    found = Heartbeats().scan(tmp_path)
    assert [case.label for case in found.cases if case.group == "100"] == ["N", "N", "V", "S"]
    assert {case.path.split("#")[0]: (case.group, case.part) for case in found.cases} == {
        "deep/100.hea": ("100", "test"),
        "deep/101.hea": ("101", "train"),
        "deep/201.hea": ("201", "train"),
        "deep/202.hea": ("201", "test"),  # one man
    }
    first = found.cases[0]
    assert (first.age, first.sex, first.extra, first.id) == (69, "M", {"kind": "N"}, "deep/100.hea#0.6000")
    apart = Heartbeats(same=(), without=()).scan(tmp_path)
    assert {case.group for case in apart.cases} == {"100", "101", "102", "201", "202"}


def test_paced_and_unclassifiable_beats_are_counted(tmp_path):
    truth = draw_layout("mitbih", tmp_path / "set", persons=6)
    found = Heartbeats().scan(tmp_path / "set")
    told = {case.id: (case.group, case.part, case.age, dict(AAMI)[case.label]) for case in truth.cases}
    assert {case.id: (case.group, case.part, case.age, case.label) for case in found.cases} == told
    told = next(one for one in found.findings if one.code == "other-heartbeats")
    assert told.text == "6 heartbeats of kinds that are no class of the recipe, left out: 6 of kind /" and told.figures == {
        "/": 6
    }


def test_records_of_one_s_own_have_no_parts(tmp_path):
    for name in ("anna", "bert"):
        record(tmp_path, name, comments=())
    found = Heartbeats().scan(tmp_path)
    assert {(case.group, case.part, case.age, case.sex) for case in found.cases} == {
        ("anna", "", None, ""),
        ("bert", "", None, ""),
    }


def test_records_without_annotations_are_told(tmp_path):
    record(tmp_path, "100")
    (record(tmp_path, "101") / "101.atr").unlink()
    found = Heartbeats().scan(tmp_path)
    assert {case.group for case in found.cases} == {"100"}
    assert "1 record without annotations (101.hea), left out" in [one.text for one in found.findings]
    (tmp_path / "100.atr").unlink()
    with pytest.raises(DataError, match=r"100\.hea has no annotations beside it \(100\.atr\); to learn, beats must be annotated"):
        Heartbeats().scan(tmp_path)


def told(found):
    return {one.code: one.text for one in found.findings if one.grade == "look"}


def test_records_that_lack_a_header_or_beats_or_are_broken_are_told_and_the_others_go_on(tmp_path):
    for name in ("a", "b", "c", "d"):
        record(tmp_path, name, "NNNVNN")
    assert told(Heartbeats().scan(tmp_path)) == {}
    (tmp_path / "b.hea").unlink()
    (tmp_path / "c.hea").write_text("nonsense\n")
    (tmp_path / "d.atr").write_bytes(b"\0\0")
    found = Heartbeats().scan(tmp_path)
    said = told(found)
    assert {case.group for case in found.cases} == {"a"}
    assert said["record-without-header"] == "1 record without a header, left out: b.hea is not there; copy it too"
    (tmp_path / "a-old.atr").touch()  # annotations beside others, and samples of a record that another header names
    (tmp_path / "e.dat").touch()
    assert told(Heartbeats().scan(tmp_path)) == said
    assert (
        said["broken-record"].startswith("1 record left out: ")
        and "c.hea cannot be read as an annotated WFDB" in said["broken-record"]
    )
    assert "d.hea" in said["record-without-heartbeats"]


def test_annotations_that_do_not_fit_the_signal_are_told(tmp_path):
    for name, seed in (("a", 0), ("b", 1), ("c", 2), ("d", 3)):
        signal, peaks = draw_ecg(Heart.draw(seed), "NNNV" * 10, seed=seed)
        some = peaks[:12] if name == "c" else peaks
        write(tmp_path, name, signal, 360, ("MLII", "V1"), beats=some, symbols=list("NNNV" * 10)[: len(some)])
    shutil.copy(tmp_path / "b.atr", tmp_path / "a.atr")  # of another record
    header = (tmp_path / "d.hea").read_text()
    (tmp_path / "d.hea").write_text(header.replace(" 360 ", " 180 "))
    said = told(Heartbeats().scan(tmp_path))
    assert said["beats-beside-peaks"].startswith("annotated beats of 2 records do not lie on peaks of the signal: a.hea, d.hea;")
    assert "c.hea at " in said["annotations-end-early"] and set(said) == {"beats-beside-peaks", "annotations-end-early"}


def test_beats_that_cannot_be_read_are_told_by_record(tmp_path):
    for name in ("a", "b", "c"):
        record(tmp_path, name)
    (tmp_path / "a.dat").unlink()
    (tmp_path / "b.dat").write_bytes(b"\0" * 300)
    seen = audit(Heartbeats().scan(tmp_path), ReadBeat(), processes=1)
    text = next(one.text for one in seen.findings if one.code == "unreadable")
    assert text.startswith("8 of 12 cases cannot be read, left out, of 2 files; the first: ")
    assert "a.hea names the signal file a.dat, which is not beside it; " in text and "b.hea: its signal file holds fewer" in text


def test_leads_without_samples_are_told_beat_by_beat(tmp_path):
    signal, peaks = draw_ecg(Heart.draw(0), "NNNV" * 3)
    for name, some in (("a", signal), ("b", np.full_like(signal, np.nan))):
        write(tmp_path, name, some, 360, ("MLII", "V1"), beats=peaks, symbols=list("NNNV" * 3))
    seen = audit(Heartbeats().scan(tmp_path), ReadBeat(), processes=1)
    assert {case.partition("#")[0] for case, _ in seen.unreadable} == {"b.hea"}


def test_a_division_needs_records_of_both_parts_that_can_be_read(tmp_path):
    for name in ("100", "101"):
        record(tmp_path, name)
    assert {case.part for case in Heartbeats().scan(tmp_path).cases} == {"train", "test"}
    (tmp_path / "100.hea").write_text("nonsense\n")
    assert {case.part for case in Heartbeats().scan(tmp_path).cases} == {""}


def test_noise_does_not_hide_beats(tmp_path):
    signal, peaks = draw_ecg(Heart.draw(0), "NNNV" * 10)
    noisy = signal + np.random.default_rng(0).normal(0, 0.15, signal.shape)
    write(tmp_path, "a", noisy, 360, ("MLII", "V1"), beats=peaks, symbols=list("NNNV" * 10))
    assert told(Heartbeats().scan(tmp_path)) == {}


def test_folders_without_headers_are_told(tmp_path):
    with pytest.raises(DataError, match=r"holds no WFDB records \(100\.hea with 100\.dat and 100\.atr\)"):
        Heartbeats().scan(tmp_path)
    (record(tmp_path, "100") / "100.hea").unlink()
    with pytest.raises(DataError, match=r"holds 100\.dat without its header 100\.hea"):
        Heartbeats().scan(tmp_path)


def test_broken_annotations_name_the_record(tmp_path):
    (record(tmp_path, "100") / "100.hea").write_text("nonsense\n")
    with pytest.raises(DataError, match=r"100\.hea cannot be read as an annotated WFDB record"):
        Heartbeats().scan(tmp_path)


def test_kinds_are_symbols():
    with pytest.raises(
        RecipeError, match="kinds cannot hold 'normal': it takes a tuple of pairs of a string of 1 to 1 characters and a string"
    ):
        Heartbeats(kinds=(("normal", "N"),))


def test_records_of_other_persons_that_are_called_alike_are_not_divided(tmp_path):
    for name in ("99", "100", "102"):
        record(tmp_path, name)
    found = Heartbeats().scan(tmp_path)
    assert {(case.group, case.part) for case in found.cases} == {("99", ""), ("100", ""), ("102", "")}
    for folder in ("a", "b"):
        record(tmp_path / "more" / folder, "r1")
    assert {case.group for case in Heartbeats().scan(tmp_path / "more").cases} == {"a/r1", "b/r1"}


def test_pieces_of_a_record_are_no_records_of_their_own(tmp_path):
    for name in ("one", "two"):
        record(tmp_path, name)
    whole = tmp_path / "all.hea"
    rows = [int((tmp_path / f"{name}.hea").read_text().split()[3]) for name in ("one", "two")]
    whole.write_text(f"# put together\nall/2 2 360 {sum(rows)}\none {rows[0]}\ntwo {rows[1]}\n")
    shutil.copy(tmp_path / "two.atr", tmp_path / "all.atr")
    found = Heartbeats().scan(tmp_path)
    assert {case.group for case in found.cases} == {"all"} and len(found.cases) == 4
    recording = read_recording(str(whole))
    assert recording.leads == ("MLII", "V1")
    first = [read_recording(str(tmp_path / f"{name}.hea")).signal for name in ("one", "two")]
    np.testing.assert_array_equal(recording.signal, np.concatenate(first))
