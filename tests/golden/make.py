"""How everything in this folder was made: by resdx as it was at commit ca78804, the last before its modules moved into rooms.

    git worktree add ../before ca78804
    cp tests/golden/make.py ../before/ && cd ../before
    OMP_NUM_THREADS=1 PYTHONPATH=. python make.py FOLDER

It writes into FOLDER, which must not be there yet, what lies beside this file, and takes less than a minute. It is kept as a
record and is
not meant for any later version: what is tested is that later versions open what this one left.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
import shutil
import sys
import tempfile
import typing
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

import resdx
from resdx import records, train
from resdx.calibration import Boxing
from resdx.cases import Case, Manifest
from resdx.corpus import Member
from resdx.data import _key, prepare
from resdx.errors import RecipeError
from resdx.export import export
from resdx.exported import SUMS, sums
from resdx.models.head_specs import Linear, NaiveBayes, Yolo
from resdx.models.net import build
from resdx.models.packed import Seen, pack
from resdx.models.specs import Cnn, Net, ResNet, Tiles, Until
from resdx.phantoms import draw_phantoms
from resdx.predict import Predictor
from resdx.pretrain import Parts, pretrain, pretraining_recipe
from resdx.recipe import (
    Dcgan,
    Ensemble,
    FeatureClassifier,
    Published,
    RandomImages,
    Recipe,
    Search,
    Training,
    fine_tuned,
    on_features,
)
from resdx.recipe import (
    Member as Learner,
)
from resdx.recipes import get_recipe, recipe_titles
from resdx.runs import Run, Settings
from resdx.sources import DicomFolder, FolderPerClass
from resdx.stages import prepared_of, resume
from resdx.steps.image import CropDark, Grey, Resize
from resdx.steps.random import Affine, Crop, Erase, Flip, Tint, Tone
from resdx.steps.read import ReadDicom, ReadNifti
from resdx.study import start
from resdx.tasks import Detect

GONE = "/gone"  # in place of the folder that everything was made in
PERSONS, SIDE, SHOWN = 32, 40, 4
TRUNK = Cnn((4, 8, 8))
RECIPE = Recipe(
    name="golden",
    title="Tiny films, kept",
    source=FolderPerClass(group=r"^(p\d+)"),
    prepare=(CropDark(above=0.02), Grey(), Resize(32, keep="pad")),
    augment=(Flip(), Affine(degrees=5), Crop(least=0.6), Tone(brightness=0.05), Tint(strength=0.1), Erase(share=0.05)),
    model=Net(Until(replace(TRUNK, frozen="block1"), "block2"), Linear(dropout=0.1)),
    learn=Training(
        epochs=12,
        head_epochs=1,
        head_penalty=0.1,
        frozen_norms=True,
        batch=16,
        lr=1e-2,
        schedule="plateau",
        plateau_patience=1,
        least_lr=1e-3,
        ema=0.9,
        class_weights="balanced",
        kept_views=2,
        kept_gb=1.0,
    ),
    views=2,
    published_split=RandomImages(test=0.25),
    published=(Published("accuracy", 0.9),),
    differs=("everything is tiny",),
)


def ensemble(start: str) -> Recipe:
    """Two members, one of which begins with the weights `start`."""
    tiles = Net(Tiles(replace(TRUNK, frozen="all", weights=start), 2, 2, (1,)), NaiveBayes())
    members = (
        Learner("trained", replace(RECIPE.learn, frozen_norms=False, head_penalty=0.0, epochs=2)),
        Learner("bayes", FeatureClassifier(views=2), tiles),
    )
    return replace(RECIPE, learn=Ensemble(members, vote="weighted"))


ASKED = {  # never run: what was asked is kept alone
    "search": replace(
        RECIPE,
        learn=Search(
            replace(RECIPE.learn, head_penalty=0.0),
            grid=(
                ("learn.least_lr", ("0.0", "0.001")),
                ("learn.frozen_norms", ("true", "false")),
                ("learn.kept_views", ("2", "4")),
                ("learn.kept_gb", ("1", "2")),
                ("model.trunk.last", ("block1", "block2")),
                ("augment.2.least", ("0.5", "0.7")),
            ),
            draws=3,
            epochs=2,
        ),
    ),
    "scales": replace(
        RECIPE, model=Net(ResNet(50, joined=True, extra=16, frozen="all")), learn=FeatureClassifier((0.01, 0.1), views=4)
    ),
    "ensemble": ensemble(f"{GONE}/packed.safetensors"),
    "generator": replace(RECIPE, learn=Training(), generator=Dcgan(share=0.5, steps=10, size=32)),
    "boxes": replace(
        RECIPE,
        model=Net(Until(ResNet(18, frozen="layer1"), "layer3"), Yolo()),
        learn=Training(frozen_norms=True),
        task=Detect(),
        views=1,
    ),
}
OTHERS = (
    ReadDicom(low=0.0, high=9.0),
    ReadNifti(low=0.0, high=9.0),
    DicomFolder("BodyPartExamined"),
    Boxing(((0.1, 0.2),), (0.5, 0.25)),
)  # records that no recipe here has
LEFT = (  # of a finished run; not the cache, the page and what is drawn
    *("run.json", "manifest.csv", "scan.json", "audit.json", "failures.csv", "split.csv", "split.json", "best.safetensors"),
    *("familiarity.safetensors", "scores-tune.npz", "scores-calib.npz", "scores-test.npz", "calibration.json", "predictions.csv"),
    *("metrics.json", "log.jsonl"),
)
TEXTS = (".json", ".csv", ".jsonl", ".md")
TOLD = ("points", "answers", "verdict", "doubts", "limits")  # of the report's figures


def main(out: Path) -> None:
    """Make everything in a temporary folder, and keep what is small and says nothing of that folder."""
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        films = work / "films"
        draw_phantoms(films, persons=PERSONS, images=2, size=SIDE, contrast=3.0, prevalence=0.5)
        (out / "packed.safetensors").write_bytes(packed_start())
        shutil.copy(out / "packed.safetensors", work)
        run = finished(work, films, RECIPE, "run", weights=str(work / "packed.safetensors"))
        test = [case.path for case in run.cases("test")]
        test = test[: SHOWN // 2] + test[-SHOWN // 2 :]  # of both classes
        for name in test:
            (out / "films" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(films / name, out / "films" / name)
        keep(run.path, out / "run", LEFT, work)
        keep_cache(out)
        make_export(run, out / "export")
        several = finished(work, films, ensemble(str(work / "packed.safetensors")), "ensemble")
        keep_ensemble(several, out / "ensemble", work)
        answers = {name: said(out / name, out / "films", test) for name in ("run", "ensemble", "export")}
        write(out / "answers.json", answers)
        write(out / "seeded.json", seeded(run))
        report = json.loads((run.path / "report.json").read_text())
        write(out / "report.json", {key: report[key] for key in TOLD})
        make_stopped(work, films, out / "stopped")
        make_pretraining(run, work, out / "pretraining")
        for name, recipe in ASKED.items():
            Run.create(
                work / name, recipe, Settings(GONE, seed=3, accepted=("exact-copies",), fold=1, choices={"dtype": "bfloat16"})
            )
            keep(work / name, out / "asked" / name, ("run.json",), work)
    write_lines(out / "fingerprints.json", fingerprints())
    write_lines(out / "records.json", every_record())
    shipped = {weights: features(ResNet(18, weights=weights)) for weights in ("resdx", "resdx-views")}
    write(out / "features.json", {**shipped, "packed": features(TRUNK, out / "packed.safetensors")})


def write(path: Path, data: Any) -> None:
    """JSON on one line."""
    path.write_text(json.dumps(data) + "\n")


def write_lines(path: Path, rows: list[Any]) -> None:
    """A JSON list, a line a row."""
    path.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


def finished(work: Path, films: Path, recipe: Recipe, name: str, *, weights: str = "") -> Run:
    """A finished run in float32, whatever is faster here, without evidence."""
    skip = ("controls", "explain", "embedding", "suspects")
    run = start(films, recipe=recipe, out=work / "store" / name, weights=weights, skip=skip, quiet=True)
    resume(run.changed(choices={"dtype": "float32"}))
    return Run.open(run.path, quiet=True)


def keep(run: Path, folder: Path, names: tuple[str, ...], work: Path) -> None:
    """Copy files of a run; a text says nothing of where it was made."""
    for name in names:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        text = (run / name).read_text().replace(str(work.resolve()), GONE) if place.suffix in TEXTS else ""
        if place.suffix == ".json":  # without its indentation, which is a third of it
            place.write_text(json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False) + "\n")
        elif text:
            place.write_text(text)
        else:
            here = str(work.resolve()).encode()  # weights tell what they started from; a header keeps its length
            place.write_bytes((run / name).read_bytes().replace(here, GONE.encode().ljust(len(here), b"/")))


def keep_ensemble(run: Run, folder: Path, work: Path) -> None:
    """What answers, of an ensemble and its members."""
    shared = ("run.json", "familiarity.safetensors", "calibration.json")
    keep(run.path, folder, (*shared, "ensemble.json"), work)
    for member in run.members:
        keep(member.path, folder / "members" / member.path.name, ("run.json", "best.safetensors"), work)


def packed_start() -> bytes:
    """What a small network starts from, in the form of a pre-training: int8, and hashes of what it has seen."""
    torch.manual_seed(0)
    network = build(Net(TRUNK), 2)
    batches = [torch.rand(16, 3, 32, 32) * 2 - 1 for _ in range(2)]
    hashes = [np.random.default_rng(k).integers(0, 256, (3, 32), dtype=np.uint8) for k in range(2)]
    sources = {"trunk": records.to_record(TRUNK), "sets": [], "parts": {"labels": 0.0, "views": 1.0, "teacher": 0.0}, "seed": 0}
    return pack(network.trunk, batches, Seen(sources, *hashes))[1]  # type: ignore[arg-type]


def keep_cache(out: Path) -> None:
    """Pictures as they are kept for later runs of the same files; their place follows from a root that need not be there."""
    names = sorted(path.relative_to(out / "films").as_posix() for path in (out / "films" / "normal").glob("*.png"))
    content = {name: hashlib.sha256((out / "films" / name).read_bytes()).hexdigest() for name in names}

    def cases(root: Path) -> Manifest:
        return Manifest(root, tuple(Case(name, name, "", (name.split("/")[0],)) for name in names))

    made = prepare(cases(out / "films"), RECIPE, out / "cache", content=content)
    made.folder.rename(out / "cache" / _key(cases(Path(GONE)), RECIPE, content))


def make_export(run: Run, folder: Path) -> None:
    """The run as an ONNX graph, without the notes on the source lines that each node came from."""
    (made,) = export(run, "onnx")
    model = onnx.load(made / "model.onnx")
    for one in (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info, *model.functions):
        del one.metadata_props[:]
        one.ClearField("doc_string")
    for one in (*model.graph.input, *model.graph.output):
        del one.metadata_props[:]
        one.ClearField("doc_string")
    onnx.save(model, made / "model.onnx")
    (made / SUMS).write_text(sums(made))
    shutil.copytree(made, folder)


def make_stopped(work: Path, films: Path, folder: Path) -> None:
    """The same run, killed after half of its epochs: what stages before leave is as in `run`."""
    whole, saved = train.save_checkpoint, []

    def killed(bench: Any, progress: Any) -> None:
        whole(bench, progress)
        saved.append(progress.epoch)
        if len(saved) == 6:
            raise KeyboardInterrupt

    train.save_checkpoint = killed
    try:
        run = finished(work, films, RECIPE, "stopped", weights=str(work / "packed.safetensors"))
    except KeyboardInterrupt:
        run = Run.open(work / "store" / "stopped", quiet=True)
    finally:
        train.save_checkpoint = whole
    keep(run.path, folder, ("run.json", "log.jsonl", "state.safetensors", "best.safetensors"), work)


def make_pretraining(run: Run, work: Path, folder: Path) -> None:
    """What a pre-training leaves, without its weights, of which the smallest take 12 MB."""
    recipe = replace(pretraining_recipe(18, 32), learn=Training(epochs=1, batch=8, ema=0.9, start_size=16))
    path = pretrain([Member(run, "films", "CC0", 2.0)], work / "pretraining", recipe=recipe, parts=Parts(1, 1, 0), quiet=True)
    keep(path.parent, folder, ("run.json", "corpus.json", "card.md", "failures.csv", "log.jsonl"), work)


def said(run: Path, films: Path, names: list[str]) -> list[dict[str, Any]]:
    """What a Predictor says of some films, by their names."""
    answers, _ = Predictor.open(run, quiet=True).predict([films / name for name in names])
    rows = zip(names, answers, strict=True)
    return [
        {
            "film": name,
            "probabilities": rounded(one.probabilities),
            "label": one.label,
            "set": one.conformal,
            "flags": one.flags,
        }
        for name, one in rows
    ]


def rounded(value: Any) -> Any:
    """All numbers with four digits."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def seeded(run: Run) -> dict[str, Any]:
    """What a run with a fixed seed has to find again, beside the figures in metrics.json and predictions.csv of `run`."""
    images = np.ascontiguousarray(prepared_of(run).images)
    return {
        "films": {"persons": PERSONS, "images": 2, "size": SIDE, "contrast": 3.0, "prevalence": 0.5},
        "pictures": [list(images.shape), hashlib.sha256(images.tobytes()).hexdigest()],
        **{name: hashlib.sha256((run.path / name).read_bytes()).hexdigest() for name in ("manifest.csv", "split.csv")},
        "audit.json": audit_hash(run.path / "audit.json"),
    }


def audit_hash(path: Path) -> str:
    """sha256 of an audit but for the hashes of files, which differ from one PNG library to the next."""
    found = json.loads(path.read_text())
    del found["facts"]["sha256"]
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def fingerprints() -> list[list[Any]]:
    """Fingerprints of every recipe and variant, in 12 digits each.

    Of each: name, fingerprint, sha256 of its record, and its fingerprints on features and fine-tuned.
    """
    return [[name, mark(name), hashed(name), mark(name, on_features), mark(name, fine_tuned)] for name in recipe_titles()]


def mark(name: str, change: Callable[[Recipe], Recipe] = replace) -> str | None:
    """The first digits of a fingerprint; None of what cannot be changed so."""
    try:
        return change(get_recipe(name)).fingerprint()[:12]
    except RecipeError:
        return None


def hashed(name: str) -> str:
    """The first digits of a record's hash."""
    return hashlib.sha256(json.dumps(records.to_record(get_recipe(name)), sort_keys=True).encode()).hexdigest()[:12]


def every_record() -> list[Any]:
    """The record of each class as it stands by default, or in a recipe that has it, and with each of its fields changed."""
    for module in pkgutil.walk_packages(resdx.__path__, "resdx."):
        if "__main__" not in module.name:
            importlib.import_module(module.name)
    found: dict[str, Any] = {}
    for value in (*ASKED.values(), RECIPE, *map(get_recipe, recipe_titles()), *OTHERS):
        collect(value, found)
    out = []
    for name, cls in sorted(records._KNOWN.items()):
        try:
            found[name] = cls() if name != "Recipe" else RECIPE
        except (TypeError, RecipeError):
            if name not in found:
                print(f"{name} has no example", file=sys.stderr)  # calibrations and votes are in the runs
                continue
        value = found[name]
        rows = [] if isinstance(value, Recipe) else [records.to_record(value)]
        rows += [records.to_record(one) for one in OTHERS if type(one) is cls]
        rows += [
            changed for field in fields(value) if not isinstance(value, Recipe) and (changed := with_another(value, field.name))
        ]
        out += [row for k, row in enumerate(rows) if row not in rows[:k]]
    return out


def collect(value: Any, found: dict[str, Any]) -> None:
    """The first of each kind of record inside a value."""
    if isinstance(value, tuple):
        for one in value:
            collect(one, found)
    elif type(value).__name__ in records._KNOWN:
        found.setdefault(type(value).__name__, value)
        for field in fields(value):
            collect(getattr(value, field.name), found)


def with_another(value: Any, name: str) -> Any:
    """The record of `value` with another value of a field; None where none that comes to mind is allowed."""
    old, kind = getattr(value, name), typing.get_type_hints(type(value))[name]
    kinds = [
        one
        for kind in (kind, *typing.get_args(kind))
        for one in typing.get_args(kind)
        if typing.get_origin(kind) is typing.Literal
    ]
    tries: list[Any] = [one for one in kinds if one != old]
    if isinstance(old, bool):
        tries += [not old]
    elif isinstance(old, int):
        tries += [old + 1, old * 2, old - 1, old // 2, 18, 101]
    elif isinstance(old, float):
        tries += [old / 2, old + 0.25, old * 1.5]
    elif isinstance(old, str):
        tries += ["block1", "layer2", "all", "x"]
    elif old is None:
        tries += [0.25, 3, "x"]
    elif isinstance(old, tuple):
        tries += [old[:1], old[:-1], old + old[-1:], ("x",), (("x", "y"),), (1, 2)]
    for new in tries:
        try:
            record = records.to_record(replace(value, **{name: new}))
            if record != records.to_record(value) and records.from_record(json.loads(json.dumps(record))) == replace(
                value, **{name: new}
            ):
                return record
        except Exception:
            continue
    return None


def features(trunk: ResNet | Cnn, weights: Path | None = None) -> dict[str, Any]:
    """What starting weights make of a picture of slopes."""
    network = build(Net(trunk), 2, weights=weights).eval()
    slope = torch.linspace(0, 1, 64)
    picture = torch.stack([slope[:, None].expand(64, 64), slope.expand(64, 64), slope.flip(0).expand(64, 64)])[None]
    with torch.no_grad():
        embedding = network.embed(picture)[0]
    return {"mean": round(float(embedding.mean()), 4), "first": [round(float(one), 4) for one in embedding[:8]]}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
