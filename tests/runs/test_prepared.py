"""Prepared pictures: right pixels, kept once, made anew when a file changes, and nothing half-written."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from resdx.data.audit.file_facts import look
from resdx.data.cases import Case, Manifest
from resdx.errors import DataError, RunError
from resdx.recipes.recipe import Recipe
from resdx.runs.prepared import prepare
from resdx.transforms.compose import prepare_image
from resdx.transforms.image import Grey, Resize

RECIPE = Recipe("tiny", "Tiny", prepare=(Resize(16),))


def films(root, *, colour=(), broken=(), count=5):
    """`count` noisy 16-pixel pictures."""
    rng = np.random.default_rng(0)
    for k in range(count):
        pixels = rng.integers(0, 256, (16, 16, 3) if k in colour else (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{k}.png")
    for k in broken:
        (root / f"{k}.png").write_bytes(b"no picture")
    return Manifest(root, tuple(Case(f"case {k}", f"{k}.png", labels=("a",)) for k in range(count)))


def hashes(manifest):
    return {case.id: hashlib.sha256((manifest.root / case.path).read_bytes()).hexdigest() for case in manifest.cases}


def filled(manifest, cache, recipe=RECIPE, **options):
    return prepare(manifest, recipe, cache, content=hashes(manifest), **options)


def pixels(manifest, k):
    return np.asarray(Image.open(manifest.root / f"{k}.png"))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_grey_set_is_kept_with_one_channel(root, tmp_path):
    manifest = films(root)
    prepared = filled(manifest, tmp_path / "cache")
    assert prepared.images.shape == (5, 16, 16, 1) and prepared.images.dtype == np.uint8
    for k in range(5):
        assert_array_equal(prepared.images[prepared.row[f"case {k}"], ..., 0], pixels(manifest, k))
    assert_array_equal(prepared.rows(["case 3", "case 0"]), [3, 0])


def test_one_colour_picture_gives_the_set_three_channels(root, tmp_path):
    manifest = films(root, colour=(3,))
    prepared = filled(manifest, tmp_path / "cache")
    assert prepared.images.shape == (5, 16, 16, 3)
    assert_array_equal(prepared.images[3], pixels(manifest, 3))
    assert_array_equal(prepared.images[1], np.repeat(pixels(manifest, 1)[..., None], 3, -1))
    assert filled(manifest, tmp_path / "cache", Recipe("g", "", prepare=(Grey(), Resize(16)))).images.shape[3] == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_more_cases_than_a_chunk_keep_their_order(root, tmp_path, monkeypatch, workers):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", workers)
    manifest = films(root, count=150)
    prepared = filled(manifest, tmp_path / "cache")
    assert_array_equal(prepared.images[..., 0], [pixels(manifest, k) for k in range(150)])


def test_prepared_pictures_are_used_again(root, tmp_path):
    manifest = films(root)
    content, cache, calls = hashes(manifest), tmp_path / "cache", []
    first = prepare(manifest, RECIPE, cache, content=content, progress=calls.append)
    for path in root.iterdir():
        path.unlink()  # so that only the cache can answer
    again = prepare(manifest, RECIPE, cache, content=content, progress=calls.append)
    assert_array_equal(first.images, again.images)
    assert first.row == again.row and calls == [5]


def test_what_does_not_touch_the_pixels_keeps_the_cache(root, tmp_path):
    manifest = films(root)
    filled(manifest, tmp_path / "cache")
    filled(manifest, tmp_path / "cache", RECIPE.set("learn.epochs", "3").set("views", "2"))
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_other_steps_and_changed_files_are_prepared_anew(root, tmp_path):
    manifest = films(root)
    first = filled(manifest, tmp_path / "cache")
    assert filled(manifest, tmp_path / "cache", RECIPE.set("size", "24")).images.shape[1] == 24
    Image.new("L", (16, 16), 7).save(root / "2.png")
    changed = filled(manifest, tmp_path / "cache")
    assert (changed.images[2] == 7).all() and not (first.images[2] == 7).all()


def test_unreadable_pictures_are_listed_with_the_reason(root, tmp_path):
    manifest = films(root, broken=(1, 3))
    for _ in range(2):  # when filled, and from the cache
        prepared = filled(manifest, tmp_path / "cache")
        assert [case for case, _reason in prepared.failures] == ["case 1", "case 3"]
        assert "1.png" in prepared.failures[0][1]
        assert list(prepared.row) == ["case 0", "case 2", "case 4"]
        assert_array_equal(prepared.images[prepared.row["case 4"], ..., 0], pixels(manifest, 4))


def test_picture_that_could_not_be_read_is_tried_again(root, tmp_path):
    manifest = films(root)
    content = hashes(manifest)
    (root / "2.png").rename(tmp_path / "away.png")  # as when a network drive is gone for a moment
    assert prepare(manifest, RECIPE, tmp_path / "cache", content=content).failures[0][0] == "case 2"
    (tmp_path / "away.png").rename(root / "2.png")
    again = prepare(manifest, RECIPE, tmp_path / "cache", content=content)
    assert again.failures == ()
    assert_array_equal(again.images[..., 0], [pixels(manifest, k) for k in range(5)])


@pytest.mark.parametrize("after", [b"no picture", None])
def test_file_that_changed_since_the_audit_is_an_error(root, tmp_path, after):
    manifest = films(root)
    content = hashes(manifest)
    (root / "3.png").write_bytes(after or (root / "4.png").read_bytes())
    with pytest.raises(DataError, match=r"3\.png has changed since the audit; run `resdx audit RUN` again"):
        prepare(manifest, RECIPE, tmp_path / "cache", content=content)
    assert list((tmp_path / "cache").iterdir()) == []


def test_slice_that_changed_since_the_audit_is_an_error(root, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16), dtype=np.uint8)
    np.savez(root / "set.npz", train_images=images)
    manifest = Manifest(root, tuple(Case(f"set.npz#train/{k}", f"set.npz#train/{k}", labels=("a",)) for k in range(2)))
    content = {
        fact.case: fact.sha256 for fact in look({case.id: f"{root}/{case.path}" for case in manifest.cases}, RECIPE.read).facts
    }
    assert len(prepare(manifest, RECIPE, tmp_path / "cache", content=content).row) == 2
    np.savez(root / "set.npz", train_images=images[::-1])
    with pytest.raises(DataError, match=r"set\.npz#train/0 has changed since the audit"):
        prepare(manifest, RECIPE, tmp_path / "other", content=content)


def test_cases_to_skip_are_not_read(root, tmp_path):
    manifest = films(root, broken=(1,))
    prepared = filled(manifest, tmp_path / "cache", skip=("case 1",))
    assert prepared.failures == () and len(prepared.row) == 4


def test_set_without_a_readable_picture_is_an_error_and_leaves_nothing(root, tmp_path):
    manifest = films(root, broken=range(5))
    with pytest.raises(DataError, match=r"none of the 5 files below .* can be prepared; first: "):
        filled(manifest, tmp_path / "cache")
    with pytest.raises(DataError, match="none of the 5 files"):
        filled(manifest, tmp_path / "cache", skip=[case.id for case in manifest.cases])
    assert list((tmp_path / "cache").iterdir()) == []


def test_cache_that_cannot_be_written_is_named_and_left_as_it_was(root, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(RunError, match=r"cache.* cannot be written \(.*\); free some space or choose another --out"):
        filled(films(root), tmp_path / "cache")
    assert (tmp_path / "cache").read_text() == "a file where the folder should be"


def test_cache_that_lost_its_index_is_prepared_anew(root, tmp_path):
    manifest = films(root)
    filled(manifest, tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / "index.json").unlink()
    assert len(filled(manifest, tmp_path / "cache").row) == 5


def test_two_runs_may_fill_the_cache_at_once(root, tmp_path):
    films(root, count=130)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", FILL, root, tmp_path / "cache"],
            cwd=Path(__file__).parent,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in "12"
    ]
    assert [process.wait() for process in both] == [0, 0]
    assert len(list((tmp_path / "cache").iterdir())) == 1


FILL = """
import sys
from pathlib import Path
from test_prepared import Case, Manifest, filled
cases = tuple(Case(f"case {k}", f"{k}.png", labels=("a",)) for k in range(130))
assert len(filled(Manifest(Path(sys.argv[1]), cases), Path(sys.argv[2])).images) == 130
"""


def test_index_names_the_steps(root, tmp_path):
    filled(films(root), tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    assert json.loads((folder / "index.json").read_text())["recipe"] == [{"is": "Resize", "size": 16}]


def test_values_are_rounded_and_not_cut(root):
    for value in (0, 1, 127, 254, 255):
        Image.new("L", (16, 16), value).save(root / "x.png")
        assert (prepare_image(str(root / "x.png"), RECIPE.read, RECIPE.prepare) == value).all()


def test_value_that_is_not_finite_is_an_error(root):
    Image.fromarray(np.full((16, 16), np.nan, np.float32)).save(root / "x.tif")
    with pytest.raises(DataError, match=r"x\.tif"):
        prepare_image(str(root / "x.tif"), RECIPE.read, RECIPE.prepare)
