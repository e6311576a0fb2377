"""An ensemble as a run: members of the same parts, nothing fitted on calib or test, and one that is killed goes on."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from safetensors.numpy import save
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from resdx.data.cases import Case, Manifest
from resdx.data.tasks import Classify
from resdx.errors import RecipeError, RunError, WeightsError
from resdx.files import read_json, read_log, write_bytes, write_text
from resdx.inference.ood import fit_ood_score
from resdx.inference.opening import votes_of
from resdx.inference.predictor import Predictor
from resdx.models.specs import Net, Pretrained, ResNet
from resdx.recipes.learning import Ensemble, FeatureClassifier, Member, Training
from resdx.recipes.recipe import Recipe
from resdx.runs.run import Run, Scores
from resdx.runs.settings import Settings
from resdx.studies.export import export
from resdx.studies.pipeline import train
from resdx.studies.stages import EVIDENCE, repeat, resume
from resdx.studies.start import asked_recipe
from resdx.studies.study import run
from resdx.training.ensemble import PENALTY, join, train_members
from resdx.training.frozen_features import train_folds


def recipe_of(study, *members, **fields):
    """The films' recipe with an ensemble of its ResNet-18, whose features start from the weights of the finished run."""
    return replace(study.run.recipe, learn=Ensemble(members, **fields))


@pytest.fixture(scope="module")
def alone(study):
    """How the finished run learnt, as a member."""
    return Member("alone", study.run.recipe.learn)


@pytest.fixture(scope="module")
def both(study, films):
    """A finished ensemble of two trainings of the films, in the store of the finished run."""
    one = Member("one", Training(epochs=1, batch=16, ema=0.0))
    other = Member("other", Training(epochs=1, batch=16, ema=0.0, lr=3e-3, class_weights="balanced"))
    recipe = recipe_of(study, one, other, vote="weighted")
    return run(films, recipe=recipe, out=study.run.store / "both", skip=EVIDENCE, quiet=True)


# The recipe


def test_recipe_gives_each_member_a_recipe_of_its_own():
    vgg = Net(Pretrained("vgg16"))
    recipe = Recipe("own", "Own", learn=Ensemble((Member("a", Training(epochs=3)), Member("b", FeatureClassifier(), vgg))))
    a, b = recipe.members
    assert (a.learn, a.model, b.learn, b.model) == (Training(epochs=3), recipe.model, FeatureClassifier(), vgg)
    assert (a.prepare, a.name, recipe.learn.rebalances, recipe.frozen) == (recipe.prepare, "own", False, False)
    assert a.members == (a,) and recipe.set("learn.members.0.learn.epochs", "9").members[0].learn.epochs == 9
    assert recipe.set("learn.vote", "majority").learn.vote == "majority"


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ((), r"Ensemble.members cannot be \(\): it takes a tuple of one or more Member"),
        ((Member("a", Training()), Member("a", FeatureClassifier())), "Ensemble members have each a name of their own, not a, a"),
        ((Member("a", Training(), Net(ResNet(18))),), "own: no member learns on the recipe's own model; leave out the model"),
        ((Member("a", Training(cached_views=2)),), "own: learn.cached_views keeps what frozen stages make"),
    ],
)
def test_impossible_ensembles_are_refused(members, what):
    with pytest.raises(RecipeError, match=what):
        assert Recipe("own", "Own", learn=Ensemble(members)).members


@pytest.mark.parametrize("name", ["", "../up", "A", "a.fold-1"])
def test_member_is_named_as_a_directory_can_be(name):
    with pytest.raises(RecipeError, match="Member name takes small letters"):
        Member(name, Training())


def test_weights_from_outside_are_refused(study, alone):
    with pytest.raises(
        WeightsError, match="tiny is an ensemble, whose members start from weights of their own; leave out --weights"
    ):
        asked_recipe(recipe_of(study, alone), (), "imagenet")


# The run


def test_members_learn_from_the_same_parts_and_share_pictures_and_ledger(both):
    own = both.run
    assert [one.path.name for one in own.members] == ["one", "other"]
    for one in own.members:
        assert one.store == own.store
        assert (one.path / "split.csv").read_bytes() == (own.path / "split.csv").read_bytes()
        assert one.scores("tune").ids == own.scores("tune").ids
        assert not (one.path / "cache").exists() and not (one.path / "metrics.json").exists()
    assert not (own.path / "members" / "cache").exists()


def test_test_part_is_read_once(both):
    reads = [entry for entry in read_log(both.run.store / "test-reads.jsonl") if entry["run"] in ("both", "one", "other")]
    assert [entry["run"] for entry in reads] == ["both"]


def test_answers_are_the_weighted_mean_of_the_members(both):
    own, task = both.run, both.run.recipe.task
    weights = votes_of(own).weights
    assert sum(weights) == pytest.approx(1) and len(weights) == 2
    for part in ("tune", "calib", "test"):
        each = [task.probabilities(one.scores(part).logits) for one in own.members]
        assert_allclose(task.probabilities(own.scores(part).logits), np.tensordot(weights, each, 1), atol=1e-6)


def test_each_member_stands_beside_the_ensemble_with_the_lead_of_the_ensemble(both):
    rows = both.metrics.to_json()["members"]
    assert [row["name"] for row in rows] == ["ensemble", "one", "other"]
    level = both.metrics.to_json()["scores"]["image"]
    assert rows[0]["figures"]["accuracy"]["value"]["value"] == pytest.approx(level["overall"]["accuracy"]["value"])
    for row in rows[1:]:
        figure = row["figures"]["auroc opacity"]
        gap = rows[0]["figures"]["auroc opacity"]["value"]["value"] - figure["value"]["value"]
        assert figure["lead"]["value"] == pytest.approx(gap, abs=1e-9) and figure["lead"]["n"] == both.metrics.test.persons
        assert figure["lead"]["low"] is None or figure["lead"]["low"] <= gap <= figure["lead"]["high"]
    assert "lead" not in rows[0]["figures"]["accuracy"]


def test_report_shows_the_members(both):
    page = both.report().read_text()
    assert "The ensemble and its members" in page and '<th scope="row">other</th>' in page
    training = read_json(both.run.path / "report.json")["training"]
    assert [one["name"] for one in training["members"]] == ["one", "other"]


def test_new_files_are_answered_by_all_members(both, films):
    files = [films / case.id for case in both.run.cases("test")[:4]]
    answers = both.predict(files)
    rows = {row["case"]: float(row["p_opacity"]) for row in both.run.predictions}
    for answer, file in zip(answers, files, strict=True):
        assert answer.probabilities["opacity"] == pytest.approx(rows[str(file.relative_to(films))], abs=1e-4)


def test_maps_and_export_are_refused_in_a_sentence(both, films, tmp_path):
    file = films / both.run.cases("test")[0].id
    with pytest.raises(RunError, match="or an ensemble"):
        Predictor.open(both.run).predict([file], maps=tmp_path / "maps")
    with pytest.raises(RunError, match="is an ensemble, which answers with PyTorch only; finish a member"):
        export(both.run, "onnx")


def test_one_member_alone_answers_as_the_run_that_learns_so(study, twin, alone):
    one = twin("split")
    one = one.changed(recipe=recipe_of(study, alone))
    resume(one)
    ours, theirs = (found.scores("test") for found in (one, study.run))
    task = one.recipe.task
    assert ours.ids == theirs.ids
    assert_allclose(task.probabilities(ours.logits), task.probabilities(theirs.logits), atol=1e-5)
    answered = [[float(row["p_opacity"]) for row in found.predictions] for found in (one, study.run)]
    assert_allclose(*answered, atol=1e-4)
    assert [row["flags"] for row in one.predictions] == [row["flags"] for row in study.run.predictions]


def test_killed_training_goes_on_with_the_members_that_are_left(study, twin):
    members = [Member(name, Training(epochs=1, batch=16, ema=0.0)) for name in ("one", "two")]
    begun = twin("split")
    begun = begun.changed(recipe=recipe_of(study, *members))
    trained = []

    def killed(member):
        if trained:
            raise KeyboardInterrupt
        trained.append(member.path.name)
        train(member)

    with pytest.raises(KeyboardInterrupt):
        train_members(begun, killed)
    first = begun.path / "members/one/best.safetensors"
    before = first.stat().st_mtime_ns
    repeat(begun, "train")
    assert trained == ["one"] and first.stat().st_mtime_ns == before
    assert all((begun.path / name).exists() for name in ("members/two/best.safetensors", "ensemble.json", "scores-calib.npz"))


def test_training_again_removes_the_members(both, twin, study, alone):
    begun = twin("split")
    begun = begun.changed(recipe=recipe_of(study, alone))
    shutil.copytree(both.run.path / "members", begun.path / "members")
    repeat(begun, "split")
    assert not (begun.path / "members").exists()


# What joins the members, on members that are written down


CLASSES = ("normal", "opacity")
PARTS = {"train": 60, "tune": 40, "calib": 40, "test": 40}


def written(folder, vote, *, stack_on="folds", seed=0, flipped=()):
    """An ensemble whose three members are trained as far as scores go: simulated logits, two cases a person."""
    names = ("a", "b", "c")
    learn = Ensemble(tuple(Member(name, Training()) for name in names), vote, stack_on)
    recipe = Recipe("films", "Films", task=Classify("opacity"), classes=CLASSES, learn=learn)
    own = Run.create(folder, recipe, Settings(str(folder)), quiet=True)
    part = [name for name, count in PARTS.items() for _ in range(count)]
    cases = []
    for i, name in enumerate(part):
        label = CLASSES[(i // 2 + (name in flipped)) % 2]
        cases.append(Case(f"{i}.png", f"{i}.png", group=f"p{i // 2}", labels=(label,)))
    write_text(own.path / "manifest.csv", Manifest(folder, tuple(cases)).to_csv())
    rows = "".join(f"{case.id},{name},{case.group}\n" for case, name in zip(cases, part, strict=True))
    write_text(own.path / "split.csv", f"id,part,person\n{rows}")
    known = np.arange(len(cases)) // 2 % 2
    rng = np.random.default_rng(seed)
    for k, (name, one) in enumerate(zip(names, recipe.members, strict=True)):
        member = Run.create(own.path / "members" / name, one, own.settings, quiet=True)
        logits = rng.normal(size=(len(cases), 2)) + (2 - k) * np.eye(2)[known]
        embeddings = rng.normal(size=(len(cases), 3)).astype(np.float32)
        for which, of in (("folds", "train"), ("tune", "tune"), ("calib", "calib")):
            rows = [i for i, one in enumerate(part) if one == of]
            ids = tuple(cases[i].id for i in rows)
            member.write_scores(which, Scores(ids, logits[rows].astype(np.float32), embeddings[rows]))
        write_bytes(member.path / "familiarity.safetensors", save(fit_ood_score(embeddings).to_arrays()))
    return own


@pytest.mark.parametrize(
    ("vote", "stack_on", "reads"), [("weighted", "folds", "tune"), ("stacking", "tune", "tune"), ("stacking", "folds", "train")]
)
def test_what_joins_the_members_sees_one_part_alone(tmp_path, vote, stack_on, reads):
    before = join(written(tmp_path / "as-it-is", vote, stack_on=stack_on))
    others = [name for name in PARTS if name != reads]
    assert join(written(tmp_path / "others", vote, stack_on=stack_on, flipped=others)) == before
    after = join(written(tmp_path / "own", vote, stack_on=stack_on, flipped=[reads]))
    assert (after.weights, after.slopes) != (before.weights, before.slopes)


def test_plain_votes_see_no_part(tmp_path):
    for vote in ("soft", "majority"):
        votes = join(written(tmp_path / vote, vote))
        assert votes == join(written(tmp_path / f"{vote}-all", vote, flipped=[*PARTS]))
        assert votes.weights == (1 / 3,) * 3 and votes.slopes == ()


def test_stacking_is_that_of_scikit_learn(tmp_path):
    own = written(tmp_path / "run", "stacking")
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 6))
    y = np.arange(60) // 2 % 2
    x[:, 0] += y
    cases = own.cases("train")
    fold = train_folds(own, cases)
    bases = {name: LogisticRegression(C=penalty) for name, penalty in (("a", 1e-3), ("b", 0.1), ("c", 10.0))}
    final = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY))
    cut = PredefinedSplit(np.searchsorted(np.unique(fold), fold))
    theirs = StackingClassifier([*bases.items()], final, cv=cut, stack_method="decision_function").fit(x, y)
    for name, base in bases.items():
        z = np.zeros(60)
        for number in np.unique(fold):
            z[fold == number] = base.fit(x[fold != number], y[fold != number]).decision_function(x[fold == number])
        own_scores = Scores(tuple(case.id for case in cases), np.stack([-z / 2, z / 2], 1).astype(np.float32), np.zeros((60, 1)))
        (own.path / "members" / name / "scores-folds.npz").unlink()
        next(one for one in own.members if one.path.name == name).write_scores("folds", own_scores)
    new = rng.normal(size=(25, 6))
    each = [base.fit(x, y).decision_function(new) for base in bases.values()]
    logits = join(own).logits(own.recipe.task, [np.stack([-z / 2, z / 2], 1).astype(np.float32) for z in each])
    assert_allclose(own.recipe.task.probabilities(logits), theirs.predict_proba(new), atol=1e-3)


def test_members_for_stacking_learn_without_the_persons_they_answer(study, twin):
    features = Member("frozen", FeatureClassifier(penalties=(0.01,)), None)
    start = str(study.run.path / "best.safetensors")
    begun = twin("split")
    begun = begun.changed(recipe=recipe_of(study, features, vote="stacking"), weights=start)
    seen = []

    def watched(member):
        if ".fold-" in member.path.name:
            parts = {name: {case.group for case in member.cases(name)} for name in ("train", "tune", "calib", "test")}
            assert not parts["train"] & parts["calib"] and not parts["test"]
            seen.append(parts["calib"])
        train(member)

    train_members(begun, watched)
    assert sum(map(len, seen)) == len(set.union(*seen)) == len({case.group for case in begun.cases("train")})
    member = begun.members[0]
    assert set(member.scores("folds").ids) == {case.id for case in begun.cases("train")}
    assert [path.name for path in (begun.path / "members").iterdir()] == ["frozen"]
    assert (begun.path / "ensemble.json").exists() and not (member.path / "scores-train.npz").exists()
