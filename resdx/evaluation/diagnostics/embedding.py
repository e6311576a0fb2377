"""A map of the cases by t-SNE of their embeddings, and how often neighbours share a class.

t-SNE (van der Maaten and Hinton 2008) keeps neighbours together and nothing else. So the picture comes with the share of each
case's nearest neighbours, in the full embedding and among other persons, that have its class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ...data.cases import Case
from ...data.split import PARTS
from ...files import write_json
from ...inference.logits import predict_run
from ...metrics.estimate import Estimate
from ...metrics.intervals import proportion
from ...runs.prepared import Prepared
from ...runs.run import Run

MOST = 1500  # points on the map: more cover each other
NEIGHBOURS = 10
PERPLEXITY = 30.0  # neighbours that t-SNE has in mind; a third of the cases where they are few
FEWEST = 3 * NEIGHBOURS  # cases, below which a map shows nothing
DIRECTIONS = 50  # principal ones that t-SNE is given, as its authors do; the neighbours are of the full embedding

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]


def embedding(run: Run, prepared: Prepared) -> None:
    """Lay out at most 1,500 cases by their embeddings and count how often neighbours agree.

    Writes embedding.json.

    Held-out cases are shown, and training cases too where the backbone is frozen and has learnt nothing from them: a network that
    trains draws the cases it learns from apart, whether or not it has understood them.

    Raises:
        RunError: the run is not trained yet.
    """
    found = embeddings_of(run, prepared)
    cases = [(case, part) for part in PARTS for case in run.cases(part) if case.id in found]
    some = np.sort(np.random.default_rng(run.settings.seed).permutation(len(cases))[:MOST])
    chosen, parts = [cases[i][0] for i in some], [cases[i][1] for i in some]
    if len(chosen) < FEWEST:
        text = f"{len(chosen)} cases that the network has not learnt from are too few for a map of embeddings; it takes {FEWEST}"
        write_json(run.path / "embedding.json", {"missing": text})
        return
    x = np.stack([found[case.id] for case in chosen]).astype(np.float64)
    perplexity = min(PERPLEXITY, len(x) / 3)
    agree, chance = neighbours(x, [class_of(case) for case in chosen], [case.group for case in chosen])
    written = {
        "method": "t-SNE",
        "perplexity": round(perplexity, 1),
        "points": layout(x, perplexity, run.settings.seed).round(4).tolist(),
        "cases": [case.id for case in chosen],
        "classes": [class_of(case) for case in chosen],
        "parts": parts,
        "neighbours": agree.to_json(),
        "chance": chance.to_json(),
        "note": _note(len(chosen), len(cases), agree, chance, frozen="train" in parts),
    }
    write_json(run.path / "embedding.json", written)
    run.say(f"embedding: {agree} of the {NEIGHBOURS} nearest neighbours have the same class, {chance} by chance")


def embeddings_of(run: Run, prepared: Prepared) -> dict[str, Floats32]:
    """Embeddings (E,) by case.

    Of the subsets that were scored, and of all others where the backbone is frozen and they are at hand.
    """
    names = [name for name in PARTS if (run.path / f"scores-{name}.npz").exists()]
    scored = [run.scores(name) for name in names]
    out = {case: row for scores in scored for case, row in zip(scores.ids, scores.embeddings, strict=True)}
    if run.recipe.frozen:
        readable = [case.id for part in PARTS if part != "test" for case in run.cases(part) if case.id in prepared.row]
        rest = sorted(set(readable) - out.keys())
        out |= dict(zip(rest, predict_run(run, prepared, prepared.rows(rest)).embeddings, strict=True))
    return out


def layout(x: Floats, perplexity: float, seed: int) -> Floats:
    """(N, E) embeddings -> (N, 2) places, centred and scaled to fit between -1 and 1.

    The same for the same seed.

    It begins at the principal components, which keeps more of the large-scale order than a random start (Kobak and Berens 2019).
    """
    reduced = PCA(min(DIRECTIONS, *x.shape), svd_solver="randomized", random_state=seed).fit_transform(x)
    with threadpool_limits(1):  # the sums of several threads differ in their last bits, and from there the pictures part
        places = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced).astype(np.float64)
    places -= (places.max(0) + places.min(0)) / 2
    return np.asarray(places / max(float(np.abs(places).max()), 1e-9))


def neighbours(x: Floats, classes: Sequence[str], groups: Sequence[str]) -> tuple[Estimate, Estimate]:
    """Fraction of each case's 10 nearest neighbours with its class, and what chance gives.

    Neighbours are of other persons, by Euclidean distance in the full embedding.

    The interval is over persons. Chance is the share of all cases of other persons that have the class, averaged over the cases.
    """
    name, person = (np.unique(np.asarray(values), return_inverse=True)[1] for values in (classes, groups))
    other = person[:, None] != person
    kept = other.sum(1) >= NEIGHBOURS
    if not kept.any():
        missing = Estimate(None, None, None, len(set(groups)), f"not estimable: fewer than {NEIGHBOURS} cases of other persons")
        return missing, missing
    squares = (x**2).sum(1)
    distance = np.where(other, squares[:, None] + squares - 2 * x @ x.T, np.inf)[kept]
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]
    same = name[nearest] == name[kept][:, None]
    agree = proportion(same.ravel(), np.repeat(person[kept], NEIGHBOURS))
    alike = ((name[:, None] == name) & other).sum(1) / np.maximum(other.sum(1), 1)
    chance = Estimate(float(alike[kept].mean()), None, None, agree.n, "follows from the class shares of these cases")
    return replace(agree, note=agree.note.replace(" cases of ", " neighbours of the cases of ")), chance


def class_of(case: Case) -> str:
    """What a case is coloured by: its label, several with "|" between, "none" without any."""
    return "|".join(case.labels or ()) or "none"


def _note(shown: int, of: int, agree: Estimate, chance: Estimate, *, frozen: bool) -> str:
    who = "The backbone is frozen and has learnt from no case" if frozen else "No case shown was learnt from"
    return (
        f"{who}; {shown} of {of} are drawn. t-SNE keeps near neighbours together and nothing else: the distance between two "
        "islands, their size and their density mean nothing, and islands appear in pure noise too (Wattenberg et al. 2016). "
        f"The figure to trust: in the full embedding {agree} of the {NEIGHBOURS} nearest cases of other persons have the same "
        f"class, where chance gives {chance}."
    )
