"""Strips: a recording drawn with its beats marked, and a run of heartbeats that answers for recordings."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from resdx.apps.cli.main import cli
from resdx.data.cases import Prediction
from resdx.data.phantoms import draw_layout
from resdx.errors import RunError
from resdx.inference.ecg_strip import draw_strip
from resdx.inference.files import flagged, predict_files
from resdx.models.specs import Cnn, Net
from resdx.recipes.learning import Training
from resdx.recipes.library import get_recipe
from resdx.runs.run import Run
from resdx.studies.stages import EVIDENCE, resume
from resdx.studies.start import start
from resdx.transforms.readers.ecg import ReadBeat
from resdx.transforms.readers.recording import pauses_between


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small network trained on the heartbeats of twelve persons."""
    root = tmp_path_factory.mktemp("heart")
    draw_layout("mitbih", root / "data", persons=12)
    recipe = get_recipe("ecg_heartbeats").set("size", "48")
    learn = Training(epochs=8, lr=0.01, batch=16, sampling="balanced", ema=0.8)
    recipe = replace(recipe, model=Net(Cnn((8, 16))), learn=learn)
    run = start(root / "data", recipe=recipe, out=root / "run", skip=EVIDENCE, quiet=True)
    resume(run)
    return Run.open(root / "run", quiet=True)


def test_broad_beats_are_told_from_others_in_persons_not_learnt_from(finished):
    assert {case.part for case in finished.cases("test")} == {"test"}
    assert finished.metrics.to_json()["scores"]["image"]["classes"]["V"]["auroc"]["value"] > 0.8


def test_a_recording_is_answered_beat_by_beat(finished, tmp_path):
    data = finished.settings.data
    found, failures = predict_files(
        finished.path, [f"{data}/100.hea", f"{data}/gone.hea"], strips=tmp_path / "strips", quiet=True
    )
    seconds = [float(one.case.rpartition("#")[2]) for one in found]
    assert (
        len(found) > 10 and seconds == sorted(seconds) and {one.case.rpartition("#")[0] for one in found} == {f"{data}/100.hea"}
    )
    assert [reason for _, reason in failures] == [f"{data}/gone.hea is not there"]
    (drawn,) = (tmp_path / "strips").iterdir()
    assert Image.open(drawn).width == 1400
    whole, failures = predict_files(finished.path, [data], quiet=True)
    assert not failures and {one.case.rpartition("#")[0] for one in whole} == {
        f"{data}/{case.group}.hea" for case in finished.manifest.cases
    }
    (single,), _ = predict_files(finished.path, [found[3].case], quiet=True)
    assert single.probabilities == pytest.approx(found[3].probabilities, abs=1e-5)


def test_folders_without_recordings_are_told(finished, tmp_path):
    result = CliRunner().invoke(cli, ["predict", str(finished.path), str(tmp_path)])
    assert result.exit_code != 0 and "holds no recordings; name files (.hea, .csv" in result.output


def test_what_is_drawn_says_how_many_and_marks_the_rare(tmp_path):
    draw_layout("mitbih", tmp_path / "set", persons=2)
    file = f"{tmp_path}/set/101.hea"
    beats = [Prediction(f"{file}#{1 + k}", {"N": 0.6, "V": 0.4}, "N" if k % 4 else "V" if k % 8 else None) for k in range(12)]
    draw_strip(file, ("MLII",), beats, tmp_path / "a.png")
    marked = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    draw_strip(file, ("MLII",), [replace(one, label="N") for one in beats], tmp_path / "b.png")
    plain = np.asarray(Image.open(tmp_path / "b.png").convert("RGB")).astype(int)
    assert marked.shape == plain.shape and (marked != plain).any()
    coloured = np.abs(marked - marked.mean(2, keepdims=True)).max(2) > 40
    assert coloured.any()  # classes have colours
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot be written .*choose another folder for --strips"):
        draw_strip(file, ("MLII",), beats, tmp_path / "file" / "a.png")


def test_pauses_are_those_in_which_a_beat_may_have_been_missed(tmp_path):
    seconds = [0.5 + 0.8 * k for k in range(12)]
    assert pauses_between(seconds, 9.6) == []
    assert pauses_between([*seconds[:6], *seconds[7:]], 9.6) == [(seconds[5], seconds[7])]
    early = [*seconds[:6], seconds[6] - 0.25, *seconds[7:]]  # an early beat and the pause after it
    assert pauses_between(early, 9.6) == []
    assert pauses_between([0.0, 1.0, 9.0], 60) == []  # nothing is usual yet
    assert pauses_between(seconds, 60) == [(seconds[11], 60)] and pauses_between(seconds[4:], 9.6) == [(0, seconds[4])]
    (tmp_path / "a.csv").write_text("time,II\n" + "".join(f"{k / 50},{k % 7}\n" for k in range(3000)))
    beats = [Prediction(f"{tmp_path}/a.csv#{second}", {"N": 1.0}, "N") for second in (*seconds[:6], *seconds[7:])]
    flags = {6: ("after-pause",), 10: ("before-end",)}
    assert [one.flags for one in flagged(beats, ReadBeat())] == [flags.get(k, ()) for k in range(11)]


def test_what_was_not_recorded_is_a_gap_on_the_strip(tmp_path):
    time = np.arange(20 * 250) / 250
    wave = np.sin(2 * np.pi * 1.2 * time) ** 15
    pictures = []
    for name, gone in (("whole", ()), ("gap", range(2000, 2500))):
        rows = [f"{t:.3f},{'' if k in gone else v}" for k, (t, v) in enumerate(zip(time, wave, strict=True))]
        (tmp_path / f"{name}.csv").write_text("\n".join(["time,II", *rows]))
        draw_strip(f"{tmp_path}/{name}.csv", ("II",), [], tmp_path / f"{name}.png")
        pictures.append(np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")))
    dark = [(picture < 250)[40:120].any(0) for picture in pictures]  # above the axis
    middle = slice(int(1400 * 0.42), int(1400 * 0.48))  # seconds 8.4 to 9.6
    assert dark[0][middle].mean() > 0.9 and not dark[1][middle].any()
