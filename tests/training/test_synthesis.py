"""Generated pictures: fitted to train alone, copies dropped, used in training and nowhere else, told in the report."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from write_files import write_picture

from resdx.data.tasks import Classify, MultiLabel
from resdx.errors import DataError, RecipeError
from resdx.files import read_json
from resdx.models.specs import Cnn, Net
from resdx.recipes.learning import Dcgan, Ensemble, Member, Training
from resdx.recipes.recipe import Recipe
from resdx.runs.partition import part_of
from resdx.runs.prepared import prepared_of
from resdx.runs.run import Run
from resdx.studies.stages import EVIDENCE, repeat, resume
from resdx.studies.start import start
from resdx.training import synthesis as generate
from resdx.training.synthesis import enlarge
from resdx.transforms.image import Resize

HOW = Dcgan(steps=60, size=16, width=4, latent=8, batch=16, keep=0.4)
RECIPE = Recipe(
    name="made",
    title="Made",
    prepare=(Resize(32),),
    model=Net(Cnn((8,))),
    task=Classify("bright"),
    learn=Training(epochs=6, batch=16, lr=0.01, ema=0.8),
    generator=HOW,
)


def draw(root, *, persons=60, seed=0):
    draws = np.random.default_rng(seed)
    for person in range(persons):
        kind, level = (("bright", 150), ("dark", 70))[person % 2]
        pixels = np.clip(draws.normal(level, 8, (4, 4)), 0, 255).repeat(8, 0).repeat(8, 1) + draws.normal(0, 4, (32, 32))
        path = write_picture(root / kind / f"p{person}.png")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    run = start(draw(root / "data"), recipe=RECIPE, out=root / "run", skip=EVIDENCE, quiet=True)
    resume(run)
    return Run.open(root / "run", quiet=True)


def test_made_pictures_stand_in_training_and_nowhere_else(finished):
    prepared = prepared_of(finished)
    train, tune = (part_of(finished, prepared, name) for name in ("train", "tune"))
    more, enlarged = enlarge(finished, prepared, train, tune)
    made = len(enlarged.ids) - len(train.ids)
    assert 0 < made <= len(train.ids) and len(more.images) == len(prepared.images) + made
    assert (more.images[: len(prepared.images)] == prepared.images).all()
    assert enlarged.ids[: len(train.ids)] == train.ids and all(
        name.startswith("made ") for name in enlarged.groups[len(train.ids) :]
    )
    assert enlarged.truth[len(train.ids) :].sum(1).tolist() == [1] * made
    with np.load(finished.path / "generated.npz") as kept:
        assert kept["pictures"].shape == (made, 32, 32, 1)
        classes = np.array(finished.recipe.classes)[enlarged.truth[len(train.ids) :].argmax(1)]
        assert (kept["labels"] == classes).all()
    judged = {case.id for part in ("tune", "calib", "test") for case in finished.cases(part)}
    assert not judged & set(enlarged.ids)
    assert finished.metrics.to_json()["scores"]["person"]["classes"]["bright"]["auroc"]["value"] > 0.9


def test_copies_are_dropped(finished, tmp_path, monkeypatch):
    prepared = prepared_of(finished)
    train, tune = (part_of(finished, prepared, name) for name in ("train", "tune"))

    def copying(generator, how, number, side, *, seed):
        rows = np.resize(train.rows[train.truth[:, seed - finished.settings.seed] == 1], number)
        made = np.array(prepared.images[rows])
        made[::2] = np.roll(made[::2], 9, 1) // 2 + 60  # every second one is like no other
        yield made

    monkeypatch.setattr(generate, "_drawn", copying)
    monkeypatch.setattr(generate, "_learnt", lambda *_: None)
    enlarge(replace(finished, path=tmp_path), prepared, train, tune)
    told = read_json(tmp_path / "generated.json")
    assert [0.4 < row["copies"] < 0.6 for row in told["classes"]] == [True, True]
    real = {image.tobytes() for image in prepared.images}
    with np.load(tmp_path / "generated.npz") as kept:
        assert len(kept["pictures"]) and not any(image.tobytes() in real for image in kept["pictures"])


def test_report_shows_what_was_made(finished):
    repeat(finished, "report")
    page = (finished.path / "report.html").read_text()
    assert "What the generated pictures are worth" in page and "Made image 1 of bright" in page
    told = read_json(finished.path / "report.json")["training"]["generated"]
    assert {"kernel", "kernel_real", "frechet", "frechet_real", "real_on_tune", "made_on_tune", "real_on_made"} <= told.keys()
    assert told["real_on_tune"] > 0.9


def test_a_stopped_run_takes_the_generators_that_are_there(finished, tmp_path):
    prepared = prepared_of(finished)
    train, tune = (part_of(finished, prepared, name) for name in ("train", "tune"))
    other = replace(finished, path=tmp_path)
    (tmp_path / "generators").mkdir()
    for file in (finished.path / "generators").iterdir():
        (tmp_path / "generators" / file.name).write_bytes(file.read_bytes())
    more, _ = enlarge(other, prepared, train, tune)
    assert not other.events("generator")
    assert (more.images == enlarge(finished, prepared, train, tune)[0].images).all()


def test_classes_with_too_few_pictures_are_told(finished, tmp_path):
    prepared = prepared_of(finished)
    train, tune = (part_of(finished, prepared, name) for name in ("train", "tune"))
    few = train.at(np.concatenate([np.flatnonzero(train.truth[:, 0] == 1)[:5], np.flatnonzero(train.truth[:, 1] == 1)]))
    with pytest.raises(
        DataError, match=r"class 'bright' has 5 pictures in train, and a generator needs 8; leave out recipe\.generator"
    ):
        enlarge(replace(finished, path=tmp_path), prepared, few, tune)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(RecipeError, match=r"Dcgan.keep cannot be 0: it takes a number above 0 and up to 1"):
        Dcgan(keep=0)
    with pytest.raises(RecipeError, match=r"Dcgan.size cannot be 100: it takes 16, 32, 64, 128, 256 or 512"):
        Dcgan(size=100)
    with pytest.raises(RecipeError, match=r"Dcgan.batch cannot be 1: it takes a whole number of at least 2"):
        Dcgan(batch=1)
    with pytest.raises(RecipeError, match="a generator makes pictures of one class each, for one network"):
        replace(RECIPE, task=MultiLabel(), classes=("a", "b"))
    with pytest.raises(RecipeError, match="a generator makes pictures of one class each, for one network"):
        replace(RECIPE, learn=Ensemble((Member("one", Training()),)))
