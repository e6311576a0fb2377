"""Phantoms: bit-equal in the seed, the truth is where it is said to be, and what is planted is there."""

import hashlib
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image
from places import REPOSITORY
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.phantom_pictures import STRIPS, main
from resdx.data.audit.near_duplicates import find_duplicates, thumbnail
from resdx.data.cases import Manifest
from resdx.data.phantoms import draw_phantoms
from resdx.errors import DataError
from resdx.metrics.classification import auroc


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), np.float32) / 255


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        draw_phantoms(tmp_path / name / "films", persons=4, size=48, leak=1, near=1, seed=seed)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


def test_shares_are_exact_and_every_person_stays_in_one_class(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=20, images=2, size=32, prevalence=0.3)
    labels = {case.group: case.label for case in truth.manifest.cases}
    assert len(truth.manifest) == 40 and len(labels) == 20
    assert sum(label == "opacity" for label in labels.values()) == 6
    assert {case.source for case in truth.manifest.cases} == {"hospital 1", "hospital 2"}
    assert all((tmp_path / "films" / case.path).is_file() for case in truth.manifest.cases)


def test_opacity_is_brighter_than_the_mirrored_place_in_the_other_lung(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=20, images=1, size=96, prevalence=1)
    brighter = []
    for path, box in truth.boxes.items():
        film = pixels(tmp_path / "films" / path)
        rows, columns = slice(int(box.y1), int(box.y2) + 1), slice(int(box.x1), int(box.x2) + 1)
        brighter.append(film[rows, columns].mean() - film[:, ::-1][rows, columns].mean())
    assert np.mean(np.array(brighter) > 0) >= 0.9 and np.mean(brighter) > 0.05


@pytest.mark.parametrize(("variety", "most"), [(1.0, 0), (0.0, 60)])
def test_no_film_of_a_clean_collection_is_a_near_duplicate(tmp_path, variety, most):
    truth = draw_phantoms(tmp_path / "films", persons=100, variety=variety)
    films = np.stack([thumbnail(pixels(tmp_path / "films" / case.path)[..., None]) for case in truth.manifest.cases])
    alike = sum(map(len, find_duplicates(films)))
    assert alike <= most and (alike > 0) == (most > 0)


def test_films_of_one_person_look_alike_but_differ(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=8, images=2, size=64, sources=1, prevalence=0)
    films = np.stack([pixels(tmp_path / "films" / case.path).ravel() for case in truth.manifest.cases])
    same = [np.abs(films[i] - films[i + 1]).mean() for i in range(0, 16, 2)]
    other = [np.abs(films[i] - films[i + 2]).mean() for i in range(0, 14, 2)]
    assert min(same) > 0.005 and np.median(same) < np.median(other)


def test_a_file_reads_as_a_chest_film_in_the_rough(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=4, images=1, size=96, prevalence=0)
    for case in truth.manifest.cases:
        film = pixels(tmp_path / "films" / case.path)
        lungs, spine, corner = film[30:50, 20:34].mean(), film[30:50, 44:52].mean(), film[80:, :2].mean()
        assert lungs < spine - 0.2 and corner < spine


def test_plants_are_what_they_say(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=10, size=64, leak=2, copies=2, near=2, label_noise=0.2)
    root, cases = tmp_path / "films", truth.manifest.by_id
    assert [len(pairs) for pairs in (truth.leaks, truth.copies, truth.near)] == [2, 2, 2]
    for original, planted in truth.leaks + truth.copies + truth.near:
        assert cases[original].group == cases[planted].group
        assert original.split("/")[1][:4] != planted.split("/")[1][:4]
    for original, planted in truth.copies:
        assert (root / original).read_bytes() == (root / planted).read_bytes()
    for original, planted in truth.near:
        with Image.open(root / planted) as small, Image.open(root / original) as large:
            assert small.format == "JPEG" and small.size == (51, 51)
            assert np.abs(np.asarray(small.resize(large.size), float) - np.asarray(large, float)).mean() < 8
    wrong = {case.group for case in truth.manifest.cases if case.id in truth.mislabelled}
    assert len(wrong) == 2 and all(case.id in truth.mislabelled for case in cases.values() if case.group in wrong)


def test_shortcut_of_one_gives_each_class_its_hospital(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=10, images=1, size=32, shortcut=1)
    assert {(case.label, case.source) for case in truth.manifest.cases} == {("normal", "hospital 1"), ("opacity", "hospital 2")}


def ring(folder, truth, cut):
    """What `cut` leaves of each film, and the class."""
    rows = np.stack([pixels(folder / case.path)[cut] for case in truth.manifest.cases])
    return rows, np.array([case.label == "opacity" for case in truth.manifest.cases])


EDGE = np.ones((32, 32), bool)
EDGE[2:-2, 2:-2] = False
CORNER = np.zeros((32, 32), bool)
CORNER[-8:, :7] = True


@pytest.mark.parametrize(("cue", "cut"), [("corner", CORNER), ("border", EDGE)])
@pytest.mark.parametrize("strength", [0, 1])
def test_a_mark_tells_the_class_at_strength_one_and_nothing_at_zero(tmp_path, cue, cut, strength):
    truth = draw_phantoms(tmp_path / "films", persons=120, images=1, size=32, sources=1, cue=cue, shortcut=strength)
    seen, ill = ring(tmp_path / "films", truth, cut)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.001))
    area = auroc(ill.astype(int), cross_val_predict(model, seen, ill, cv=5, method="decision_function"))
    assert area > 0.99 if strength else abs(area - 0.5) < 0.15  # 2.8 standard errors of 48 and 72
    marked = np.array([case.id in truth.marked for case in truth.manifest.cases])
    assert (marked == ill).all() if strength else abs(np.corrcoef(marked, ill)[0, 1]) < 0.25


def test_a_mark_of_middle_strength_follows_that_share_of_the_class(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=100, images=1, size=32, cue="corner", shortcut=0.6, prevalence=0.5)
    agree = np.mean([(case.id in truth.marked) == (case.label == "opacity") for case in truth.manifest.cases])
    assert abs(agree - (0.6 + 0.4 / 2)) < 0.08


def test_marks_change_nothing_but_their_place(tmp_path):
    plain = draw_phantoms(tmp_path / "plain", persons=6, images=1, size=32)
    draw_phantoms(tmp_path / "corner", persons=6, images=1, size=32, cue="corner", shortcut=1)
    draw_phantoms(tmp_path / "border", persons=6, images=1, size=32, cue="border", shortcut=1)
    for case in plain.manifest.cases:
        film = pixels(tmp_path / "plain" / case.path)
        assert (pixels(tmp_path / "corner" / case.path) == film)[~CORNER].all()
        assert (pixels(tmp_path / "border" / case.path) == film)[~EDGE].all()


def test_a_twin_without_lungs_keeps_the_marks_and_nothing_of_the_opacity(tmp_path):
    kinds = {"dense": {"contrast": 2.0}, "hidden": {"contrast": 0.0}}
    for name, opacity in kinds.items():
        truth = draw_phantoms(tmp_path / name, persons=4, size=48, prevalence=1, organ=False, **opacity)
    assert digest(tmp_path / "dense") == digest(tmp_path / "hidden") and not truth.boxes
    whole = draw_phantoms(tmp_path / "whole", persons=4, size=48, prevalence=1)
    for case in whole.manifest.cases:
        film, twin = pixels(tmp_path / "whole" / case.path), pixels(tmp_path / "dense" / case.path)
        assert film[16:26, 8:16].mean() < twin[16:26, 8:16].mean() - 0.1  # the right lung is solid
        letter = np.isclose(film[:10], 0.97, atol=0.002)
        assert letter.sum() >= 8 and np.isclose(twin[:10][letter], 0.97, atol=0.002).all()


def test_size_and_contrast_of_opacities_are_what_was_asked(tmp_path):
    def excess(name, **opacity):
        truth = draw_phantoms(tmp_path / name, persons=12, images=1, size=64, prevalence=1, **opacity)
        draw_phantoms(tmp_path / f"{name}-none", persons=12, images=1, size=64, prevalence=1, **{**opacity, "contrast": 0})
        more = [pixels(tmp_path / name / path) - pixels(tmp_path / f"{name}-none" / path) for path in truth.boxes]
        return np.mean([np.abs(film).max() for film in more]), [box.x2 - box.x1 for box in truth.boxes.values()]

    usual, wide = excess("usual")
    faint, _ = excess("faint", contrast=0.3)
    _, narrow = excess("small", radius=(0.02, 0.03))
    assert usual > 2 * faint > 0.02
    assert all(0.9 * 0.11 * 64 < width < 1.1 * 0.20 * 64 for width in wide) and max(narrow) < 1.1 * 0.03 * 64


def test_shipped_parts_hold_whole_persons_but_those_that_were_torn(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=20, size=32, test_share=0.25, across=3, copies=2, near=1, leak=1)
    parts = defaultdict(set)
    for case in truth.manifest.cases:
        assert case.path.split("/")[0] == case.part and (tmp_path / "films" / case.path).is_file()
        if int(case.path.split("/")[2][1:4]) < 20:
            parts[case.group].add(case.part)
    assert {person for person, seen in parts.items() if len(seen) == 2} == set(truth.across) and len(truth.across) == 3
    assert sum(seen == {"test"} for seen in parts.values()) in range(2, 6)
    by_id = truth.manifest.by_id
    assert all(by_id[one].part != by_id[two].part for one, two in truth.copies + truth.near + truth.leaks)


def test_a_misfiled_film_lies_beside_a_rightly_filed_one_of_its_person(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=20, size=32, misfiled=4, label_noise=0.1)
    wrong = Counter(case.group for case in truth.manifest.cases if case.id in truth.mislabelled)
    assert sorted(wrong.values()) == [1, 1, 1, 1, 2, 2]


def test_truth_table_beside_the_folder_is_a_manifest(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=4, size=32)
    table = Manifest.read(tmp_path / "films-truth.csv")
    assert [case.boxes for case in table.cases] == [case.boxes for case in truth.manifest.cases]
    assert all((table.root / case.path).is_file() for case in table.cases)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": 8}, "32 pixels"),
        ({"shortcut": 2}, "between 0 and 1"),
        ({"radius": (0.3, 0.1)}, "a range"),
        ({"contrast": -1}, "0 or more"),
        ({"across": 1}, "test_share between"),
        ({"cue": "watermark"}, "hospital, corner or border"),
    ],
)
def test_senseless_numbers_are_refused(tmp_path, wrong, says):
    with pytest.raises(DataError, match=says):
        draw_phantoms(tmp_path / "films", **wrong)


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty"):
        draw_phantoms(tmp_path)


@pytest.mark.slow
def test_pictures_of_the_documentation_are_those_the_command_draws(tmp_path):
    main(tmp_path)
    for name in STRIPS:
        kept = REPOSITORY / "docs" / "pictures" / f"{name}.webp"
        assert np.abs(pixels(kept) - pixels(tmp_path / f"{name}.webp")).mean() < 0.01
