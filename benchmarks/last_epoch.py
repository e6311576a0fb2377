"""How the last epoch of a published training swings, and what the epoch that tune chooses says instead.

    python -m benchmarks.last_epoch WORK --data FOLDER > benchmarks/last_epoch.md

FOLDER holds ct-covid. The recipe `covid_ct` (64 px, 50 epochs, settings of a public repository, from random weights) is trained
under the published protocol and under the honest one. The repository scored its test slices after every epoch and reported the
last; so does this, and it marks the epoch that the validation set would have chosen. Each finished training is kept in WORK.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from resdx.data.split import part_hash
from resdx.files import read_json, write_json
from resdx.inference.logits import predict_logits
from resdx.metrics.classification import accuracy
from resdx.metrics.intervals import estimate, person_codes
from resdx.runs.ledger import read_once_more
from resdx.runs.partition import part_of, tune_score
from resdx.runs.prepared import content_hashes, prepared_of
from resdx.runs.run import Run
from resdx.studies.review.benchmark_sets import defect_of, judged
from resdx.studies.stages import repeat
from resdx.studies.start import start
from resdx.training.checkpoint import Progress
from resdx.training.loop import bench_of, run_epoch

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "last-epoch.webp"
PROTOCOLS = ("published", "honest")
LAST = 10  # epochs over which the swing is told


def curve(work: Path, data: Path, protocol: str, seed: int) -> dict[str, list[float]]:
    """Per epoch the score on tune and the accuracy on test, and of the epoch that tune chooses the interval of its accuracy."""
    place = work / f"{protocol}-{seed}.json"
    if place.exists():
        return dict(read_json(place))
    path = work / f"{protocol}-{seed}"
    if not (path / "run.json").exists():
        recipe = judged("covid_ct")
        start(data / "ct-covid", recipe=recipe, out=path, seed=seed, protocol=protocol)  # type: ignore[arg-type]
    for stage in ("scan", "audit", "split", "prepare"):
        repeat(Run.open(path), stage)
    run = Run.open(path)
    read_once_more(run, part_hash([case.id for case in run.cases("test")], content_hashes(run)))
    run = replace(run, settings=replace(run.settings, choices={"dtype": "bfloat16"}))
    prepared = prepared_of(run)
    train, tune, test = (part_of(run, prepared, name) for name in ("train", "tune", "test"))
    learn, progress = run.recipe.learn, Progress()
    bench = bench_of(run, learn, prepared, train)  # type: ignore[arg-type]
    truth = test.truth.argmax(1)
    scores, named = [], []
    for epoch in range(learn.epochs):  # type: ignore[union-attr]
        run_epoch(bench, train, progress, lambda: None)
        said = {
            name: predict_logits(bench.network, prepared.images, part.rows).logits
            for name, part in (("tune", tune), ("test", test))
        }
        scores.append(tune_score(run, tune, said["tune"]))
        named.append(said["test"].argmax(1))
        progress.judge(learn, scores[-1])  # type: ignore[arg-type]
        progress.epoch += 1
        said_right = float(accuracy(truth, named[-1]))
        print(f"{protocol} {seed} epoch {epoch + 1}: tune {scores[-1]:.3f}, test accuracy {said_right:.3f}", file=sys.stderr)
    persons = person_codes([group or case for group, case in zip(test.groups, test.ids, strict=True)], len(test.ids))
    kept = {"tune": scores, "accuracy": [float(accuracy(truth, one)) for one in named]}
    for name, at in (("last", len(scores) - 1), ("chosen", int(np.argmax(scores)))):
        found = estimate(accuracy, truth, named[at], persons)
        kept[name] = [at + 1, found.value, found.low, found.high]
    kept["cases"] = [len(train.ids), len(test.ids), int(persons.max()) + 1]
    write_json(place, kept)
    return kept


def page(found: dict[tuple[str, int], dict[str, list[float]]]) -> str:
    """A row a training."""
    rows = []
    for (protocol, seed), one in found.items():
        swing, (train, test, persons) = one["accuracy"][-LAST:], map(int, one["cases"])
        last, chosen = (f"{value:.3f} ({low:.3f}-{high:.3f})" for _, value, low, high in (one["last"], one["chosen"]))
        rows.append(
            f"| {protocol} | {seed} | {train} / {test} / {persons} | {min(swing):.3f} to {max(swing):.3f} | {last} | "
            f"{int(one['chosen'][0])} | {chosen} |"
        )
    return PAGE.format(
        rows="\n".join(rows), defect=defect_of("covid_ct", "ct-covid"), last=LAST, seeds=len({seed for _, seed in found})
    )


def draw(found: dict[tuple[str, int], dict[str, list[float]]]) -> None:
    """Accuracy on test after each epoch, a panel a protocol."""
    figure, axes = plt.subplots(1, len(PROTOCOLS), figsize=(9, 3.2), sharey=True, layout="constrained")
    for panel, protocol in zip(axes, PROTOCOLS, strict=True):
        for number, (key, one) in enumerate((key, one) for key, one in found.items() if key[0] == protocol):
            panel.plot(range(1, len(one["accuracy"]) + 1), one["accuracy"], lw=1, color=f"C{number}", label=f"seed {key[1]}")
            panel.plot(one["chosen"][0], one["chosen"][1], "o", ms=7, color=f"C{number}")
        panel.set(title=f"{protocol} protocol", xlabel="epoch")
        panel.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy on test")
    axes[0].legend(frameon=False, title="dot: chosen by tune", fontsize=8, title_fontsize=8)
    figure.savefig(PICTURE, dpi=110)


PAGE = """# How a last epoch swings

![Accuracy on test after each epoch](../docs/pictures/last-epoch.webp)

`covid_ct` (S33) at 64 px under its published settings, 50 epochs, on ct-covid ({defect}), from random weights: the published \
run started from Keras's ImageNet weights, which are not read here, and on
another set of slices. The repository reports its last epoch, .8954, one epoch after .7545; its validation set is its test \
set. Accuracy, 95 % intervals by person. "Swing" is the smallest and the largest accuracy on
test of the last {last} epochs: what a report of the last epoch could have said. "By tune" is the epoch with the best AUROC on \
persons of the validation set.

| protocol | seed | train / test cases / persons | swing | last epoch | epoch by tune | by tune |
|---|---|---|---|---|---|---|
{rows}

Made by `python -m benchmarks.last_epoch WORK --data FOLDER --seeds {seeds}`.
"""


def main() -> None:
    """Train what is missing, draw and print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    found = {
        (protocol, seed): curve(asked.work, asked.data, protocol, seed) for seed in range(asked.seeds) for protocol in PROTOCOLS
    }
    draw(found)
    print(page(found))


if __name__ == "__main__":
    main()
