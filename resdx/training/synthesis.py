"""More images to learn from, made by generators that have seen the training set alone.

A generator a class learns from the prepared pictures of train; of what it makes, copies of training pictures are dropped, and
of the rest those most like a real one are kept. They stand beside the real ones in training and nowhere else: tune, calib and
test are real.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import TaskID
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.functional import interpolate

from ..data.cases import Case
from ..data.tasks import target, truth
from ..errors import DataError, count
from ..files import digest, write_bytes, write_json
from ..inference.logits import predict_logits
from ..metrics.classification import macro_auroc
from ..metrics.image_similarity import frechet, kernel_distance, likeness, nearest
from ..models.backbones.wrappers import fit_inputs
from ..models.forward import default_device
from ..models.gan import Generator, Judge, generator_loss, judge_loss, matching
from ..models.network import build
from ..models.weights import save_state
from ..recipes.learning import Dcgan
from ..runs.partition import Part
from ..runs.prepared import Prepared
from ..runs.run import Run
from ..transforms.augment import case_keys

Pictures = NDArray[np.uint8]

FEWEST = 8  # real pictures of a class to learn from
COPY = 1.0  # per cent of real pictures that are as much nearer to one of another person than to the next person: beyond is a copy
LOG_EVERY = 100  # steps from one line of the log to the next


def enlarge(run: Run, prepared: Prepared, train: Part, tune: Part) -> tuple[Prepared, Part]:
    """Prepared pictures and train with those that were made.

    Writes generated.npz and generated.json (what they are worth).

    Raises:
        DataError: a class has too few pictures in train.
    """
    how = cast(Dcgan, run.recipe.generator)
    if not (run.path / "generated.json").exists():
        pictures, labels, reported = [], [], []
        for k, name in enumerate(run.recipe.classes):
            real = train.at(np.flatnonzero(train.truth[:, k] == 1))
            if len(real.ids) < FEWEST:
                raise DataError(
                    f"class {name!r} has {len(real.ids)} pictures in train, and a generator needs {FEWEST}; leave out "
                    "recipe.generator"
                )
            made, what = _made(run, how, prepared, real, k)
            pictures.append(made)
            labels += [name] * len(made)
            reported.append({"class": name, "real": len(real.ids), **what})
            run.say(
                f"generator: {count(len(made), 'picture')} of {name}, {what['copies']:.0%} of those made were copies and are "
                "left out"
            )
        out = io.BytesIO()
        np.savez_compressed(out, pictures=np.concatenate(pictures), labels=np.array(labels))
        write_bytes(run.path / "generated.npz", out.getvalue())
        images = np.concatenate(pictures)
        write_json(run.path / "generated.json", {"classes": reported, **_quality(run, prepared, train, tune, images, labels)})
    with np.load(run.path / "generated.npz", allow_pickle=False) as stored:
        images, labels = stored["pictures"], stored["labels"].tolist()
    name = f"{prepared.folder.name} {digest(run.path / 'generated.npz')}"  # other pictures, another cache
    folder = run.path / "generated" / hashlib.sha256(name.encode()).hexdigest()[:24]
    enlarged = replace(prepared, folder=folder, images=np.concatenate([prepared.images, images]))
    enlarged.folder.mkdir(parents=True, exist_ok=True)
    return enlarged, train + _part(run, labels, len(prepared.images))


def _part(run: Run, labels: Sequence[str], first: int) -> Part:
    """Made pictures, each of a person of its own, as cases whose rows begin at `first`."""
    cases = [Case(f"made {k}", "", labels=(name,)) for k, name in enumerate(labels)]
    ids = tuple(case.id for case in cases)
    known = truth(run.recipe.task, run.recipe.classes, cases)
    rows = np.arange(first, first + len(ids))
    return Part(ids, ids, rows, case_keys(ids), known, target(run.recipe.task, known))


def _made(run: Run, how: Dcgan, prepared: Prepared, real: Part, k: int) -> tuple[Pictures, dict[str, Any]]:
    """What is kept of the pictures of class `k`, and how it was chosen."""
    originals = prepared.images[real.rows]
    generator = _learnt(run, how, originals, k)
    wanted = max(2, round(how.share * len(originals)))
    made = np.concatenate(list(_drawn(generator, how, round(wanted / how.keep), originals.shape[1], seed=run.settings.seed + k)))
    # a case without a person is one of its own
    persons = np.unique([group or case for group, case in zip(real.groups, real.ids, strict=True)], return_inverse=True)[1]
    at, far, next_far = nearest(made, originals, persons)
    # The same between real pictures of different persons, as the measure.
    _, usual, next_usual = nearest(originals, originals, persons, own=persons)
    known = np.isfinite(next_usual) & (next_usual > 0)  # none with fewer than three persons
    # A picture between many is near to all of them; a copy is much nearer to one person than to any other.
    ratio = np.divide(far, next_far, out=np.ones_like(far), where=next_far > 0)
    copy = ratio < np.percentile(usual[known] / next_usual[known], COPY) if known.any() else np.zeros(len(far), bool)
    alike = np.array([likeness(picture, originals[row]) for picture, row in zip(made, at, strict=True)])
    rank = alike.argsort(0).argsort(0).sum(1).astype(float)  # by SSIM and by PSNR
    rank[copy] = -1
    best = np.sort(np.argsort(-rank, kind="stable")[: min(wanted, int((~copy).sum()))])
    if len(best) < 2:
        raise DataError(
            f"of {len(made)} pictures made of class {run.recipe.classes[k]!r} all but {len(best)} are copies of training "
            "pictures; "
            "change generator.steps or leave out recipe.generator"
        )
    return made[best], {
        "made": len(made),
        "kept": len(best),
        "copies": float(copy.mean()),
        "ssim": float(alike[best, 0].mean()),
        "psnr": float(alike[best, 1][np.isfinite(alike[best, 1])].mean()) if np.isfinite(alike[best, 1]).any() else None,
        "nearest_real": float(np.median(far)),
        "nearest_stranger": float(np.median(usual)) if np.isfinite(np.median(usual)) else None,
    }


def _learnt(run: Run, how: Dcgan, originals: Pictures, k: int) -> Generator:
    """The generator of class `k`; one that was trained before is taken as it is."""
    path, device = run.path / "generators" / f"{k}.safetensors", default_device()
    torch.manual_seed(run.settings.seed + k)
    generator = Generator(how.size, how.latent, how.width, originals.shape[3]).to(device)
    if path.exists():
        generator.load_state_dict(load_file(path))
        return generator.eval()
    judge = Judge(how.size, how.width, originals.shape[3], spectral=how.spectral).to(device)
    # beta1 of 0.5 as Radford et al. 2016
    makes, judges = (torch.optim.Adam(one.parameters(), how.lr, betas=(0.5, 0.999)) for one in (generator, judge))
    rng = np.random.default_rng([run.settings.seed, k])
    with run.progress(f"generator of {run.recipe.classes[k]}", how.steps) as bar:
        for step in range(1, how.steps + 1):
            rows = rng.choice(len(originals), min(how.batch, len(originals)), replace=False)
            real = _tensor(originals[rows], how.size, device)
            made = generator(torch.randn(len(real), how.latent, device=device))
            # the discriminator's step does not reach the generator
            judge_value = judge_loss(judge(real)[0], judge(made.detach())[0])
            judges.zero_grad()
            judge_value.backward()  # type: ignore[no-untyped-call]
            judges.step()
            with torch.no_grad():  # fixed while the generator learns
                target_features = judge(real)[1]
            logit, features = judge(made)
            loss = generator_loss(logit) + how.matching * matching(target_features, features)
            makes.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            makes.step()
            bar.advance(TaskID(0))
            if step % LOG_EVERY == 0 or step == how.steps:
                run.log("generator", kind=run.recipe.classes[k], step=step, judge=judge_value.item(), generator=loss.item())
    path.parent.mkdir(exist_ok=True)
    save_state(generator, path)
    return generator.eval()


def _tensor(pictures: Pictures, size: int, device: torch.device) -> Tensor:
    """(N, S, S, C) of bytes -> (N, C, size, size) from -1 to 1."""
    x = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x if x.shape[-1] == size else interpolate(x, size=(size, size), mode="bilinear", antialias=True)


def _drawn(generator: Generator, how: Dcgan, number: int, side: int, *, seed: int) -> Iterator[Pictures]:
    """Pictures (n, side, side, C) in batches."""
    device = next(generator.parameters()).device
    noise = torch.from_numpy(np.random.default_rng([seed, 8]).normal(size=(number, how.latent)).astype(np.float32))
    with torch.inference_mode():
        for some in torch.split(noise, 64):
            x = generator(some.to(device))
            x = x if x.shape[-1] == side else interpolate(x, size=(side, side), mode="bilinear", antialias=True)
            yield ((x + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


def _quality(run: Run, prepared: Prepared, train: Part, tune: Part, made: Pictures, labels: Sequence[str]) -> dict[str, Any]:
    """Distances of made from real features, with what two halves of the real persons are apart.

    And what classifiers trained on either say of the other.
    """
    spec, file = run.recipe.model.backbone, run.settings.weights
    torch.manual_seed(
        run.settings.seed
    )  # where nothing is started from, the same features whether generators were trained or found
    network = build(run.recipe.model, 1, weights=Path(file) if file else None)
    fit_inputs(network.backbone, prepared.images, train.rows)
    network = network.to(default_device())
    x, judged = (predict_logits(network, prepared.images, part.rows).embeddings.astype(np.float64) for part in (train, tune))
    y = predict_logits(network, made).embeddings.astype(np.float64)
    persons = np.unique([group or case for group, case in zip(train.groups, train.ids, strict=True)], return_inverse=True)[1]
    # Two halves of the real persons: their distance is the floor that a generator can reach.
    side = np.random.default_rng(run.settings.seed).permutation(persons.max() + 1)[persons] % 2 == 0
    own = train.truth.argmax(1)
    other = np.array([run.recipe.classes.index(name) for name in labels])
    real, fake = (
        make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500, class_weight="balanced")) for _ in range(2)
    )
    real.fit(x, own)
    fake.fit(y, other)
    count_each = min(
        int(side.sum()), int((~side).sum()), len(y)
    )  # as many of each: the distance of moments grows as cases become fewer
    rng = np.random.default_rng(run.settings.seed)
    first, second, third = (rng.permutation(len(some))[:count_each] for some in (x[side], x[~side], y))
    return {
        "features": f"{type(spec).__name__} from {file or spec.weights or 'random weights'}",
        "compared": count_each,
        "frechet": frechet(x[side][first], y[third]),
        "frechet_real": frechet(x[side][first], x[~side][second]),
        "kernel": kernel_distance(x, y),
        "kernel_real": kernel_distance(x[side], x[~side]),
        "real_on_tune": _area(real, judged, tune),
        "made_on_tune": _area(fake, judged, tune),
        "real_on_made": float((real.predict(y) == other).mean()),
    }


def _area(model: Any, features: NDArray[np.float64], tune: Part) -> float | None:
    """Macro AUROC on tune."""
    area = float(macro_auroc(tune.truth, model.predict_proba(features)))
    return area if np.isfinite(area) else None
