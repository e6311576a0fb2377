"""Prediction: the same answers as evaluation gave, in the order asked, whatever else lies beside them."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.io import wavfile

from resdx.apps.cli.main import cli
from resdx.data.cases import Prediction
from resdx.errors import DataError, RunError
from resdx.inference.files import flagged, label_text, predict_files, to_csv, to_json, to_table
from resdx.inference.predictor import Predictor
from resdx.transforms.readers.image import ReadImage
from resdx.transforms.readers.voice import ReadSpectrogram, ReadVoice


@pytest.fixture(scope="module")
def stored(study):
    """The rows of predictions.csv, by the path of the file."""
    with (study.run.path / "predictions.csv").open(newline="") as file:
        return {f"{study.run.settings.data}/{row['case']}": row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def answers(study, stored):
    """What the predictor says to the files of the test part."""
    found, failures = Predictor.open(study.run).predict(list(stored))
    assert failures == []
    return found


def chances(prediction):
    return list(prediction.probabilities.values())


def test_answers_for_files_are_those_of_the_evaluation(stored, answers):
    assert [one.case for one in answers] == list(stored)
    for one, row in zip(answers, stored.values(), strict=True):
        expected = {name: float(row[f"p_{name}"]) for name in ("normal", "opacity")}
        assert dict(one.probabilities) == pytest.approx(expected, abs=1e-4)
        assert (label_text(one), "|".join(one.conformal), "|".join(one.flags)) == (row["label"], row["conformal"], row["flags"])


def test_command_line_says_the_same_as_python(study, stored, answers):
    said = CliRunner().invoke(cli, ["predict", str(study.run.path), *stored, "--json"])
    assert said.exit_code == 0 and said.stderr == ""
    for given, one in zip(json.loads(said.stdout), answers, strict=True):
        expected = json.loads(json.dumps(asdict(one)))
        assert given.pop("probabilities") == pytest.approx(expected.pop("probabilities"), abs=1e-6)
        assert given == expected
    said = CliRunner().invoke(cli, ["predict", str(study.run.path), *stored, "--csv"])
    assert said.exit_code == 0 and said.stderr == ""
    for row, one in zip(csv.DictReader(io.StringIO(said.stdout)), answers, strict=True):
        assert (row["case"], row["label"]) == (one.case, label_text(one))
        assert [float(row["p_normal"]), float(row["p_opacity"])] == pytest.approx(chances(one), abs=1e-5)


def test_order_is_kept_and_a_bad_file_is_listed_while_the_others_are_answered(study, answers, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    files = [one.case for one in answers][::-1]
    mixed = [*files[:3], str(tmp_path / "broken.png"), *files[3:], str(tmp_path / "gone.png")]
    found, failures = Predictor.open(study.run).predict(mixed)
    assert [one.case for one in found] == files
    np.testing.assert_allclose([chances(one) for one in found[::-1]], [chances(one) for one in answers], atol=1e-5)
    assert [file for file, _ in failures] == [mixed[3], mixed[-1]]
    assert all(file in reason for file, reason in failures)


def test_grey_and_colour_are_answered_together_as_alone(study, stored, tmp_path):
    grey = next(iter(stored))
    colour = tmp_path / "colour.png"
    shades = np.asarray(Image.open(grey))
    Image.fromarray(np.stack([shades, shades // 2, 255 - shades], -1)).save(colour)
    predictor = Predictor.open(study.run)
    together = predictor.predict([grey, colour, grey])[0]
    alone = [predictor.predict([file])[0][0] for file in (grey, colour, grey)]
    np.testing.assert_allclose([chances(one) for one in together], [chances(one) for one in alone], atol=1e-5)
    assert chances(together[1]) != pytest.approx(chances(together[0]), abs=1e-5)


def test_folder_stands_for_the_images_in_it(study, stored, tmp_path):
    folder = tmp_path / "new" / "films"
    folder.mkdir(parents=True)
    for name, file in zip(("b.png", "a.png"), stored, strict=False):
        shutil.copy(file, folder / name)
    (folder / "notes.txt").write_text("no image")
    first = next(iter(stored))
    found, failures = predict_files(study.run, [first, tmp_path / "new"])
    assert [one.case for one in found] == [first, str(folder / "a.png"), str(folder / "b.png")]
    assert failures == []
    assert chances(found[0]) == pytest.approx(chances(found[2]), abs=1e-5)


def test_maps_come_with_the_answers(study, stored, tmp_path):
    files = list(stored)[:3]
    found, _ = predict_files(study.run, [files[0], tmp_path / "gone.png", *files[1:]], maps=tmp_path / "maps", quiet=True)
    drawn = sorted((tmp_path / "maps").iterdir())
    assert [path.name.split("-", 1)[1] for path in drawn] == [f"{Path(one.case).stem}.png" for one in found]
    with Image.open(drawn[0]) as page:
        side = 448 // study.run.recipe.size * study.run.recipe.size
        assert page.size == (side, side + 18)


class Fussy:
    """A step of the user's own that does not take everything."""

    takes = gives = "image"

    def __call__(self, image):
        if image.mean() < 0.01:
            raise MemoryError("too dark")
        return image


def test_no_file_stops_the_others_whatever_is_wrong_with_it(study, stored, tmp_path):
    Image.new("L", (48, 48)).save(tmp_path / "dark.png")
    predictor = Predictor.open(study.run)
    predictor = replace(predictor, prepare=(Fussy(), *predictor.prepare))
    good = list(stored)[:2]
    bad = [str(tmp_path / "dark.png"), "x" * 300 + ".png", "a\0#1.png"]
    found, failures = predictor.predict([good[0], *bad, good[1]], maps=tmp_path / "maps")
    assert [one.case for one in found] == good
    assert [file for file, _ in failures] == bad
    assert "cannot be prepared (MemoryError: too dark); look at it, or leave it out" in failures[0][1]
    assert [path.name[:5] for path in sorted((tmp_path / "maps").iterdir())] == ["00001", "00005"]
    assert predict_files(study.run, [*good, "y" * 300 + ".png"], quiet=True)[1][0][0] == "y" * 300 + ".png"


def test_maps_that_cannot_be_written_are_one_sentence(study, stored, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunError, match=r"cannot be written \(Not a directory\); choose another folder for --maps"):
        predict_files(study.run, list(stored)[:1], maps=tmp_path / "file" / "maps", quiet=True)
    longest = tmp_path / ("z" * 240 + ".png")
    shutil.copy(next(iter(stored)), longest)
    predict_files(study.run, [longest], maps=tmp_path / "maps", quiet=True)
    assert len(list((tmp_path / "maps").iterdir())) == 1


def test_what_is_no_calibration_and_no_scores_is_one_sentence(twin):
    run = twin("evaluate")
    for text in ("{}", "[]", '{"": "Resize"}'):
        (run.path / "calibration.json").write_text(text)
        with pytest.raises(RunError, match=r"calibration\.json is not what resdx writes"):
            Predictor.open(run, quiet=True)
    (run.path / "scores-calib.npz").write_bytes((run.path / "scores-calib.npz").read_bytes()[:100])
    with pytest.raises(RunError, match=r"scores-calib\.npz cannot be read .* repeat `resdx train"):
        run.scores("calib")


def test_folder_without_images_is_an_error(study, tmp_path):
    with pytest.raises(DataError, match="holds no images; name image files, or folders that hold some"):
        predict_files(study.run, [tmp_path])


def test_run_that_is_not_finished_says_what_to_do(twin):
    with pytest.raises(RunError, match=r"has no calibration\.json yet; run `resdx calibrate .*` first"):
        Predictor.open(twin("train"))


def test_clipped_recording_is_flagged(tmp_path):
    wave = np.sin(np.arange(4800) / 10)
    for name, loud in (("clean", 0.8), ("clipped", 3.0)):
        wavfile.write(tmp_path / f"{name}.wav", 8000, (np.clip(loud * wave, -1, 1) * 32767).astype(np.int16))
    cases = [Prediction(f"{tmp_path}/{name}.wav", {"ill": 1.0}, "ill", (), ("unsure",)) for name in ("clean", "clipped")]
    for read in (ReadVoice(), ReadSpectrogram()):
        assert [one.flags for one in flagged(cases, read)] == [("unsure",), ("unsure", "clipped")]
    assert flagged(cases, ReadImage()) == cases  # a reader that gives no flags


def test_parts_of_one_file_are_counted_where_they_are_many(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("long.hea", "short.hea"):
        (tmp_path / name).touch()

    def beats(file, n):
        return [
            Prediction(f"{file}#{k}", {"N": 0.9, "V": 0.1}, *(("N", ()) if k % 3 else (None, ("N", "V"), ("unsure",))))
            for k in range(n)
        ]

    shown = to_table([*beats("long.hea", 300), *beats("short.hea", 3)])
    assert "long.hea#" not in shown and "300 answers: N 200, refer to" in shown and "unsure 100" in shown
    assert all(f"short.hea#{k}" in shown for k in range(3))
    assert all(f"gone#{k} " in to_table(beats("gone", 60)) for k in range(60))  # files of which nothing is known


def test_referred_case_has_no_label_and_says_why():
    one = Prediction("a.png", {"ill": 0.6, "well": 0.4}, None, ("ill", "well"), ("unsure",))
    both = Prediction("b[bold].png", {"ill": 0.6, "well": 0.4}, ("ill", "well"))
    none = Prediction("c.png", {"ill": 0.1, "well": 0.1}, ())
    assert [label_text(p) for p in (one, both, none)] == ["", "ill|well", "none"]
    assert to_csv([one]).splitlines() == ["case,label,conformal,flags,p_ill,p_well", "a.png,,ill|well,unsure,0.60000,0.40000"]
    assert "refer to a person" in to_table([one]) and "b[bold].png" in to_table([both])
    assert json.loads(to_json([one]))[0]["label"] is None
    assert to_csv([]).startswith("case,label") and json.loads(to_json([])) == []
