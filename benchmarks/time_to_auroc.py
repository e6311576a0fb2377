"""How long until the validation set is answered as well: by a tuned loop, or in resdx' ways.

    python -m benchmarks.time_to_auroc WORK --data FOLDER > benchmarks/time_to_auroc.md

FOLDER holds cxr-pneumonia. The loop fine-tunes the whole network. All start from ImageNet's MobileNet-V2 at 224 px on the same
prepared pictures of the same training set; each way runs in a process of its own, in turns. Seconds are those of learning:
preparing the pictures is left out for all, scoring the validation set for the loop alone. No test set is read. Nothing else may
run
on the machine meanwhile. The loop's top rate is 0.001; with 0.0003 it was no sooner there (0.988 after the same 240 steps;
repeat it with `--one "all layers, tuned PyTorch loop" --rate 0.0003`).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.sets import recipe_of
from resdx.errors import count
from resdx.files import read_json, write_json
from resdx.inference.logits import predict_logits
from resdx.models.forward import three_channels, to_tensor
from resdx.models.network import build
from resdx.models.specs import Net, Pretrained
from resdx.runs.partition import part_of, tune_score
from resdx.runs.prepared import prepared_of
from resdx.runs.run import Run
from resdx.studies.stages import repeat
from resdx.studies.start import start
from resdx.training.frozen_features import fit_features
from resdx.training.loop import fit

RATE = 1e-3  # the loop's highest
TURNS, EPOCHS, EVERY = 2, 3, 40  # EVERY: steps of the loop between two looks at the validation set
Curve = list[tuple[float, float]]  # seconds, tune AUROC


def loop(run: Run, top: float = RATE) -> Curve:
    """All layers in one loop: channels_last, bfloat16, fused AdamW, a one-cycle rate up to `top`, mirrored pictures."""
    prepared = prepared_of(run)
    train, tune = part_of(run, prepared, "train"), part_of(run, prepared, "tune")
    network = build(Net(Pretrained("mobilenetv2_100", weights="imagenet")), train.targets.shape[1])
    network = network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=top, weight_decay=0.05, fused=True)
    truth, order = torch.from_numpy(train.truth.argmax(1)), np.random.default_rng(0)
    batches = [at for _ in range(EPOCHS) for at in np.array_split(order.permutation(len(truth)), len(truth) // 32)]
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, top, total_steps=len(batches))
    spent, curve = 0.0, []
    for step, at in enumerate(batches, 1):
        started = time.perf_counter()
        images = three_channels(to_tensor(prepared.images[train.rows[at]], torch.device("cpu")))
        if step % 2:
            images = images.flip(-1)
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(
                network(images.contiguous(memory_format=torch.channels_last)).float(), truth[at]
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
        spent += time.perf_counter() - started
        if step % EVERY == 0 or step == len(batches):
            outputs = predict_logits(network, prepared.images, tune.rows, dtype="bfloat16")
            curve.append((spent, tune_score(run, tune, outputs.logits)))
            network.train()
    return curve


def kept(views: int) -> Callable[[Run], Curve]:
    """`fine-tuned` with this many variations of each case."""

    def learn(run: Run) -> Curve:
        prepared = prepared_of(run)
        recipe = recipe_of("cxr-pneumonia", "fine-tuned").set("learn.cached_views", str(views))
        recipe = replace(recipe.set("learn.epochs", "6"), classes=run.recipe.classes)
        with tempfile.TemporaryDirectory(dir=run.path) as folder:
            trial = replace(run, path=Path(folder), recipe=recipe, settings=replace(run.settings, choices={"dtype": "bfloat16"}))
            begun = dt.datetime.now(dt.UTC)
            fit(trial, prepared, part_of(run, prepared, "train"), part_of(run, prepared, "tune"))
            ends = [(dt.datetime.fromisoformat(one["time"]), one["tune_score"]) for one in trial.events("epoch")]
        return [((end - begun).total_seconds(), score) for end, score in ends]

    return learn


def frozen(run: Run) -> Curve:
    """`features`: one pass, then a regression."""
    prepared = prepared_of(run)
    with tempfile.TemporaryDirectory(dir=run.path) as folder:
        trial = replace(run, path=Path(folder))
        started = time.perf_counter()
        fit_features(trial, prepared, part_of(run, prepared, "train"), part_of(run, prepared, "tune"))
        seconds = time.perf_counter() - started
        return [(seconds, max(one["tune_score"] for one in trial.events("penalty")))]


WAYS: dict[str, Callable[[Run], Curve]] = {
    "all layers, tuned PyTorch loop": loop,
    "resdx fine-tuned, 1 variation kept": kept(1),
    "resdx fine-tuned, 4 variations kept": kept(4),
    "resdx features": frozen,
}


def reached(curve: Curve, target: float) -> float:
    """Seconds until the target is reached for the first time; infinity where it never is."""
    return next((seconds for seconds, score in curve if score >= target), float("inf"))


def main() -> None:
    """Measure what is missing and print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--one", choices=WAYS)
    parser.add_argument("--rate", type=float, default=RATE, help="the loop's highest, where it is the one")
    asked = parser.parse_args()
    path = asked.work / "time-run"
    if not (path / "run.json").exists():
        start(asked.data / "cxr-pneumonia", recipe=recipe_of("cxr-pneumonia", "features"), out=path)
        for stage in ("scan", "audit", "split", "prepare"):
            repeat(Run.open(path), stage)
    if asked.one:
        run, way = Run.open(path, quiet=True), WAYS[asked.one]
        print(json.dumps(loop(run, asked.rate) if way is loop else way(run)))
        return
    kept_file = asked.work / "time.json"
    curves: dict[str, list[Curve]] = read_json(kept_file) if kept_file.exists() else {way: [] for way in WAYS}
    for turn in range(asked.turns):
        for way in WAYS:
            if len(curves[way]) <= turn:
                command = [sys.executable, "-m", "benchmarks.time_to_auroc", str(asked.work), "--data", str(asked.data)]
                done = subprocess.run([*command, "--one", way], capture_output=True, text=True, check=True)
                curves[way].append(json.loads(done.stdout.splitlines()[-1]))
                write_json(kept_file, curves)
                print(way, curves[way][-1], file=sys.stderr, flush=True)
    print(page(curves))


def page(curves: dict[str, list[Curve]]) -> str:
    """The page as Markdown: seconds to the loop's best AUROC and to lower ones."""
    peer = next(iter(WAYS))
    best = float(np.median([max(score for _, score in curve) for curve in curves[peer]]))
    targets = (0.97, 0.98, 0.99, best)
    lines = [
        "# Time to the same AUROC on the validation set\n",
        f"{(__doc__ or '').split(chr(10), 1)[1].strip()}\n",
        (
            f"Median of {count(len(curves[peer]), 'turn')}, seconds; in brackets how many times faster than the loop, or "
            f"'never there' where it does not get as far. The last column is the loop's best in {EPOCHS} epochs.\n"
        ),
        "| | best AUROC | " + " | ".join(f"to {target:.3f}" for target in targets) + " |",
        "|---" * (len(targets) + 2) + "|",
    ]
    base = [float(np.median([reached(curve, target) for curve in curves[peer]])) for target in targets]
    for way, found in curves.items():
        top = float(np.median([max(score for _, score in curve) for curve in found]))
        cells = []
        for target, other in zip(targets, base, strict=True):
            seconds = float(np.median([reached(curve, target) for curve in found]))
            ahead = f"{other / seconds:.1f}" if other < float("inf") else "never there"
            cells.append("not reached" if seconds == float("inf") else f"{seconds:.0f} ({ahead})")
        lines.append(f"| {way} | {top:.4f} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
