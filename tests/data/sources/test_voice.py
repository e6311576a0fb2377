"""Recordings and speech tables become cases with speakers; what differs between recordings is told; a run votes by speaker."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.io import wavfile

from resdx.data.audit.audit import audit
from resdx.data.phantoms import draw_layout
from resdx.data.sources.voice import SpeechTable, Voices
from resdx.errors import DataError, RecipeError
from resdx.inference.files import predict_files
from resdx.models.heads.specs import Svm
from resdx.models.specs import Cells, Cnn, Net, Standardised
from resdx.recipes.learning import FeatureClassifier, Training
from resdx.recipes.library import get_recipe
from resdx.runs.run import Run
from resdx.studies.stages import EVIDENCE, resume
from resdx.studies.start import start
from resdx.transforms.readers.voice import ReadVoice

SPEAKER = r"(AVPEPUDEAC?\d+)"


@pytest.fixture(scope="module")
def vowels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vowels") / "set"
    return folder, draw_layout("vowels", folder, persons=24)


def test_speakers_and_classes_are_found(vowels):
    folder, truth = vowels
    found = Voices(SPEAKER).scan(folder)
    assert {case.id: (case.group, case.labels) for case in found.cases} == {
        case.id: (case.group, case.labels) for case in truth.cases
    }
    assert not found.findings
    assert found.cases[0].extra.keys() == {"seconds", "loudness", "rate", "channels"} and float(
        found.cases[0].extra["seconds"]
    ) == pytest.approx(0.48)
    assert {case.group for case in Voices().scan(folder).cases} == {""}


def test_table_rows_are_of_their_speakers(tmp_path):
    truth = draw_layout("parkinson-speech", tmp_path / "set", persons=6)
    found = SpeechTable().scan(tmp_path / "set")
    assert [(case.id, case.group, case.label) for case in found.cases] == [
        (case.id, case.group, ("control", "parkinson")[int(case.label)]) for case in truth.cases
    ]
    assert {case.sex for case in found.cases} == {"M", "F"}
    assert found.cases == SpeechTable().scan(tmp_path / "set" / "pd_speech_features.csv").cases
    with pytest.raises(DataError, match=r"pd_speech_features\.csv is not there; it needs the two lines of headings"):
        SpeechTable().scan(tmp_path)


def test_rates_channels_and_clipping_are_told(tmp_path, vowels):
    folder, truth = vowels
    for k, case in enumerate(truth.cases[:12]):
        rate, samples = wavfile.read(folder / case.path)
        (tmp_path / case.label).mkdir(exist_ok=True)
        if k == 0:
            samples = np.stack([samples, samples], 1)
        if k == 1:
            samples = np.clip(samples.astype(int) * 20, -32768, 32767).astype(np.int16)
        wavfile.write(tmp_path / case.path, rate * 2 if k == 2 else rate, samples)
    (tmp_path / truth.cases[3].path).write_bytes(b"RIFF")
    (tmp_path / "loose.wav").write_bytes(b"")
    (tmp_path / "other.mp3").write_bytes(b"")
    found = Voices(SPEAKER).scan(tmp_path)
    told = {one.code: one.text for one in found.findings}
    assert told.keys() == {"clipped-recordings", "sampling-rates", "several-channels", "files-without-class", "other-recordings"}
    assert told["clipped-recordings"].startswith("1 recording of 11 clipped (more than 1% of the samples at full scale)")
    assert "10 at 24,000 Hz, 1 at 48,000 Hz" in told["sampling-rates"]
    seen = audit(found, ReadVoice(), processes=1)
    assert {case for case, _ in seen.unreadable} == {
        truth.cases[2].id,
        truth.cases[3].id,
    }  # too short at twice the rate, and cut off


def test_loudness_that_tells_the_class_is_told(tmp_path, vowels):
    folder, truth = vowels
    for case in truth.cases:
        rate, samples = wavfile.read(folder / case.path)
        (tmp_path / case.label).mkdir(exist_ok=True)
        softer = samples // (1 if case.label == "control" else 5)
        wavfile.write(tmp_path / case.path, rate, softer.astype(np.int16))
    codes = {one.code: one for one in audit(Voices(SPEAKER).scan(tmp_path), ReadVoice(), processes=1).findings}
    assert codes["recording-tells-class"].grade == "look"  # of 24 speakers the interval is wide
    assert codes["recording-tells-class"].figures["auroc"] == 1
    assert codes["recording-tells-class"].text.startswith("Duration, loudness, rate and channels alone tells class")
    codes = {one.code for one in audit(Voices(SPEAKER).scan(folder), ReadVoice(), processes=1).findings}
    assert not codes & {"recording-determines-class", "recording-tells-class", "near-duplicates"}


def test_folders_without_recordings_are_told(tmp_path):
    with pytest.raises(DataError, match=r"holds no WAV files; put them in a folder a class"):
        Voices().scan(tmp_path)
    with pytest.raises(DataError, match="not there; give a folder of WAV files"):
        Voices().scan(tmp_path / "gone")
    with pytest.raises(RecipeError, match="is not a regular expression"):
        Voices("(")


@pytest.mark.parametrize("model", [Net(Cells(), Svm()), pytest.param(Net(Standardised(Cnn((8, 16)))), marks=pytest.mark.slow)])
def test_a_run_tells_uneven_voices_and_votes_by_speaker(vowels, tmp_path, model):
    folder, truth = vowels
    learn = FeatureClassifier() if model.backbone.frozen else Training(epochs=15, batch=16, lr=0.01, ema=0.8)
    recipe = replace(get_recipe("voice_heat_map:wav"), source=Voices(SPEAKER), model=model, learn=learn)
    run = start(folder, recipe=recipe, out=tmp_path / "run", skip=EVIDENCE, quiet=True)
    resume(run)
    run = Run.open(tmp_path / "run", quiet=True)
    by_speaker = run.metrics.to_json()["scores"]["person"]["classes"]["parkinson"]
    assert sum(side["cases"] for side in by_speaker["support"].values()) == len({case.group for case in run.cases("test")})
    assert by_speaker["auroc"]["value"] > 0.8
    case = run.cases("test")[0]
    found, failures = predict_files(run.path, [folder / case.label, folder / "control" / "gone.wav"], quiet=True)
    assert len(found) == sum(one.label == case.label for one in truth.cases) and len(failures) == 1
