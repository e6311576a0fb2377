"""The probe of the controls: a small residual network on small images, for a fixed number of steps.

It never takes the place of the run's model. It asks how much a version of the pictures, or a set of training cases, tells of
the class, and is compared with itself on another version or another set alone (docs/methods/evaluation.md, section 5).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...data.cases import Case
from ...data.split import grouped_folds
from ...data.tasks import Detect, MultiLabel, positive_class
from ...errors import RunError
from ...inference.logits import predict_logits
from ...metrics.classification import Array, Metric, Values, macro_auroc
from ...metrics.intervals import MIN_PERSONS
from ...models.forward import default_device, to_tensor
from ...models.heads.specs import Linear
from ...models.network import build
from ...models.specs import Net, ResNet
from ...recipes.learning import Training
from ...runs.partition import Part
from ...runs.prepared import Prepared
from ...runs.run import Run
from ...training.checkpoint import Progress
from ...training.loop import bench_of, faster_dtype, run_epoch, steps_of
from ...training.losses import loss_function
from ...transforms.augment import resize

DEPTH: Final = 18
SIZE = 64  # pixels
STEPS, BATCH = 120, 32  # of one training
MOST = 2000  # cases
LEAST = 10  # cases of one person that are never thinned
SLICES = 20  # of the persons, of which as many are taken as make no more than MOST cases
SHRUNK_AT_ONCE = 64

LEARN = Training(batch=BATCH, ema=0.98)
PARTS = ("train", "tune", "calib")  # test is read once, and not by a control


@dataclass(frozen=True)
class Asked:
    """The columns of y_true that are asked about, the name of their mean AUROC, and classes left out.

    Classes of too few persons are left out.
    """

    columns: NDArray[np.intp]
    name: str
    left_out: tuple[str, ...]


def cases_of(run: Run, prepared: Prepared, *, most: int = MOST) -> tuple[Case, ...]:
    """Readable cases outside the test part, at most `most`, drawn by the run's seed.

    Of persons with many images (cells of one smear) some are taken; while that is not enough, whole persons are left out, classes
    as in all of them: an interval over persons gains more from a person than from one more image.

    Raises:
        RunError: there are none.
    """
    cases = [case for part in PARTS for case in run.cases(part) if case.id in prepared.row]
    if not cases:
        raise RunError(f"{run.path}: no readable case lies outside the test part; see split.csv and failures.csv")
    cases = _thinned(cases, most, run.settings.seed)
    if len(cases) <= most:
        return tuple(cases)
    person = persons_of(cases)
    slices = min(SLICES, int(person.max()) + 1)
    number = grouped_folds(cases, person.tolist(), slices, run.settings.seed)
    kept = max(1, int((np.bincount(number, minlength=slices).cumsum() <= most).sum()))
    return tuple(case for case, slice_ in zip(cases, number, strict=True) if slice_ < kept)


def _thinned(cases: list[Case], most: int, seed: int) -> list[Case]:
    """As many of each person as make no more than `most` cases, but never fewer than LEAST."""
    person = persons_of(cases)
    shuffled = np.random.default_rng([seed, 7]).permutation(len(cases))
    by_person = shuffled[np.argsort(person[shuffled], kind="stable")]
    held = np.bincount(person)
    place = np.empty(len(cases), np.intp)  # of a case among those of its person
    place[by_person] = np.concatenate([np.arange(count) for count in held])
    cap = max(LEAST, bisect_right(range(1, int(held.max()) + 1), most, key=lambda cap: int(np.minimum(held, cap).sum())))
    return [case for case, at in zip(cases, place, strict=True) if at < cap]


def persons_of(cases: Sequence[Case]) -> NDArray[np.intp]:
    """(N,) the person of each case as 0, 1, 2 ..."""
    return np.unique([case.group or f"case {case.id}" for case in cases], return_inverse=True)[1]


def shrink(prepared: Prepared, cases: Sequence[Case]) -> Prepared:
    """The cases alone at 64 px, as uint8 (N, 64, 64, C) in memory, row by row in their order."""
    ids = [case.id for case in cases]
    rows = prepared.rows(ids)
    images = np.empty((len(rows), SIZE, SIZE, prepared.images.shape[3]), np.uint8)
    for start in range(0, len(rows), SHRUNK_AT_ONCE):
        some = slice(start, start + SHRUNK_AT_ONCE)
        small = resize(to_tensor(prepared.images[rows[some]], default_device()), SIZE).mul(255).round()
        images[some] = small.permute(0, 2, 3, 1).cpu().numpy()
    return replace(prepared, images=images, row={case: i for i, case in enumerate(ids)})


def classes_asked(run: Run, truth: NDArray[np.float32], person: NDArray[np.intp]) -> Asked | str:
    """The positive class of two, else every class that at least 10 persons have and 10 lack.

    Or the sentence that says why none.
    """
    classes = run.recipe.classes
    positive = positive_class(run.recipe.task, classes) if len(classes) == 2 else ""
    wanted = [classes.index(positive)] if positive else list(range(len(classes)))
    sides = {k: min(len(np.unique(person[truth[:, k] == side])) for side in (1, 0)) for k in wanted}
    columns = [k for k in wanted if sides[k] >= MIN_PERSONS]
    if not columns:
        return (
            f"not estimable: no class is had and lacked by {MIN_PERSONS} persons outside the test part (at most "
            f"{max(sides.values())})"
        )
    return Asked(np.array(columns), positive or "macro", tuple(classes[k] for k in wanted if k not in columns))


def settle_dtype(run: Run, pictures: Prepared, part: Part) -> Run:
    """The run with the number format in which the probe is faster, measured once and stored."""
    if "probe_dtype" in run.settings.choices:
        return run
    network = build(_net(), part.targets.shape[1]).to(default_device())
    dtype = faster_dtype(network, pictures, part, loss_function(run.recipe.task))
    return run.changed(choices={**run.settings.choices, "probe_dtype": dtype})


def ask(
    run: Run, pictures: Prepared, learn: Part, judged: NDArray[np.int64], *, seed: int, steps: int = STEPS
) -> NDArray[np.float32]:
    """Train the probe on `learn` and give its probabilities (N, K) for the rows `judged` of `pictures`.

    For about `steps` steps (whole epochs); `pictures` come from `shrink`.

    The run's own augmentation, drawn from (seed, epoch, case); nothing is written. `run` is one that `settle_dtype` gave.
    """
    learning = replace(LEARN, epochs=max(1, round(steps / steps_of(LEARN, len(learn.ids)))))
    task = MultiLabel() if isinstance(run.recipe.task, Detect) else run.recipe.task  # it asks what a picture shows, not where
    recipe = replace(run.recipe.set("size", str(SIZE)), model=_net(), learn=learning, task=task)
    choices = {"dtype": run.settings.choices["probe_dtype"]}
    small = replace(run, recipe=recipe, settings=replace(run.settings, seed=seed, weights="", choices=choices))
    bench, progress = bench_of(small, learning, pictures, learn), Progress()
    for progress.epoch in range(learning.epochs):
        run_epoch(bench, learn, progress, lambda: None)
    logits = predict_logits(bench.average, pictures.images, judged, dtype=bench.dtype).logits
    return run.recipe.task.probabilities(logits)


def by_fold(fold: Values) -> Metric:
    """Macro AUROC as the mean over folds: scores of two probes are never pooled."""

    def mean(truth: Values, answer: Values, weights: Values | None = None, /) -> Array:
        weight = np.ones(len(truth)) if weights is None else weights
        masks = [fold == one for one in np.unique(fold)]
        return np.asarray(np.mean([macro_auroc(truth[m], answer[m], np.compress(m, weight, axis=-1)) for m in masks], axis=0))

    return mean


def _net() -> Net:
    return Net(ResNet(DEPTH), Linear())
