"""Export a finished run to a folder that answers like it.

How nearly it does is measured on the run's own validation images. int8 (NNCF) is calibrated on training pictures; then
calibrator, thresholds and limits are fitted again on what the int8 graph says of calib. A guard holds it to the trained
network: where AUROC or decisions suffer, the first layer and the last ones stay in float32, and if that is not enough nothing
is written.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save

from .. import __version__
from ..data.tasks import positive_class
from ..errors import RunError, optional
from ..evaluation.calibrate import fit_calibration
from ..files import digest, write_bytes, write_json, write_text
from ..inference.bundle import ENGINES, EXPORTED, FORMAT, SUMS, load_engine, sums
from ..inference.calibration import Calibration
from ..inference.engines import Engine, Outputs
from ..inference.engines.graph import Graph
from ..inference.logits import predict_logits
from ..inference.opening import calibrated, graph_of, load_network
from ..inference.predictor import MADE_OF, Predictor
from ..metrics.classification import auroc, macro_auroc
from ..models.heads.boxes import predicted_boxes
from ..models.network import Detector
from ..recipes.learning import Ensemble
from ..records import to_record
from ..runs.partition import Part, part_of
from ..runs.prepared import Prepared, prepared_of
from ..runs.run import Run
from ..runs.settings import ALPHA
from ..training.detection import find_boxes, mean_ap50
from ..training.frozen_features import is_cross_fitted

MOST_LOST = 0.005  # AUROC that int8 may lose
MOST_LOST_BOXES = 0.02  # of the mean AP50, which a few boxes near an overlap of 0.5 move more than they move an AUROC
MOST_FLIPPED = 0.01, 3  # share of decisions, and their number, both of which must be passed to refuse int8
QUANTISED_ON = 300  # training pictures that NNCF sees
ALIKE = 256  # training pictures that stand in for validation where a run has none
WEIGHTED = ("Convolution", "GroupConvolution", "MatMul")  # of OpenVINO; the second are depthwise
TAIL = 0.25  # share of the last convolutions that a mixed graph leaves in float32


@dataclass(frozen=True)
class Parity:
    """How far an engine's answers lie from those of the trained network on `cases` of the parts `on`.

    Probabilities are compared after each one's own calibration; a decision flips when another class is called, a referral when a
    case is sent to a person by one alone. `auroc` is that of the positive class, or the macro mean; None where it is not
    defined. `ap50` is that of boxes.
    """

    on: str
    cases: int
    probability: float
    auroc_torch: float | None
    auroc: float | None
    flipped: int
    referred: int
    images_per_second: float
    ap50_torch: float | None = None
    ap50: float | None = None

    @property
    def lost(self) -> float:
        """AUROC lost; 0 where it is not defined."""
        return 0.0 if self.auroc is None or self.auroc_torch is None else self.auroc_torch - self.auroc

    @property
    def passes(self) -> bool:
        """Whether the guard lets it pass."""
        share, number = MOST_FLIPPED
        if self.ap50 is not None and self.ap50_torch is not None and self.ap50_torch - self.ap50 > MOST_LOST_BOXES:
            return False
        return self.lost <= MOST_LOST and not (self.flipped > share * self.cases and self.flipped > number)

    def __str__(self) -> str:
        area = "" if self.auroc is None else f"AUROC {self.auroc:.4f} (PyTorch {self.auroc_torch:.4f}), "
        boxes = "" if self.ap50 is None else f"AP50 {self.ap50:.4f} (PyTorch {self.ap50_torch:.4f}), "
        return (
            f"{self.cases:,} images of {self.on}: {area}{boxes}{self.flipped} decisions and {self.referred} referrals differ, "
            f"probabilities by {self.probability:.4f} at most; {self.images_per_second:.0f} images/s"
        )


@dataclass(frozen=True)
class Known:
    """What the trained network says of the validation images, and how well it finds boxes there."""

    on: str
    part: Part
    said: Outputs
    own: NDArray[np.bool_]  # (N,) the calib cases, on which a calibrator may be fitted; none where the run has no calib part
    ap50: float | None = None


def export(run: Run, *engines: str, guard: bool = True) -> list[Path]:
    """Write RUN/export-ENGINE for each engine, whole or not at all, and give the paths.

    Args:
        engines: of onnx, openvino, bf16 and int8.
        guard: refuse int8 that loses more than 0.005 of AUROC or 0.02 of AP50, or flips more than 1 % and more than 3 decisions.

    Raises:
        RunError: the run is not finished, what an engine needs is not installed, the guard refuses, or the disk is full.
    """
    if strange := [name for name in engines if name not in ENGINES]:
        raise RunError(f"there is no export to {strange[0]!r}; there are {', '.join(ENGINES)}")
    if isinstance(run.recipe.learn, Ensemble):
        raise RunError(
            f"{run.path} is an ensemble, which answers with PyTorch only; finish a member with `resdx resume` and export it"
        )
    with run.alone():  # weights and calibration stay what they are meanwhile
        return _export_all(run, engines, guard)


def _export_all(run: Run, engines: Sequence[str], guard: bool) -> list[Path]:
    predictor = calibrated(run)
    prepared = prepared_of(run)
    known = _known(run, prepared)
    with _made(run.path / ".graph.part") as shared:
        write_graph(graph_of(run, predictor.calibration).cpu(), run.recipe.size, shared / "model.onnx")
        return [_export(run, name, predictor, prepared, known, shared / "model.onnx", guard) for name in engines]


def _export(run: Run, engine: str, predictor: Predictor, prepared: Prepared, known: Known, graph: Path, guard: bool) -> Path:
    with _made(run.path / f".export-{engine}.part") as part:
        calibration, note = predictor.calibration, ""
        if engine == "int8":
            calibration, parity, note = _quantised(run, predictor, prepared, known, graph, part, guard)
        else:
            if engine == "onnx":
                shutil.copyfile(graph, part / "model.onnx")
            else:
                _save(_needs("openvino").convert_model(graph), part)
            parity = _parity(*_timed(load_engine(part, engine), prepared, known), predictor, calibration, known)
        write_bytes(part / "familiarity.safetensors", save(predictor.ood_score.to_arrays()))
        about = {
            "format": FORMAT,
            "engine": engine,
            "run": run.path.resolve().name,
            "title": run.recipe.title,
            "read": to_record(run.recipe.read),
            "prepare": to_record(run.recipe.prepare),
            "size": run.recipe.size,
            "calibration": to_record(calibration),
            "parity": asdict(parity),
            "note": note,
            "made_of": {name: digest(run.path / name) for name in MADE_OF},
            "resdx": __version__,
        }
        write_json(part / EXPORTED, about)
        write_text(part / SUMS, sums(part))
        folder = run.path / f"export-{engine}"
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    run.say(f"export: {folder}, {size:.1f} MB; {parity}{f'; {note}' if note else ''}")
    return folder


def _save(model: Any, folder: Path) -> None:
    try:
        _needs("openvino").save_model(model, folder / "model.xml", compress_to_fp16=False)
    except RuntimeError as error:  # OpenVINO's word for a full disk
        raise RunError(
            f"{folder / 'model.xml'} cannot be written ({' '.join(str(error).split())[:200]}); free some space"
        ) from error


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """A folder that is there inside, and gone afterwards if it still has this name.

    Raises RunError where the disk is full.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of a killed process: the run is held, so nobody else's
    try:
        folder.mkdir(parents=True)
        yield folder
    except OSError as error:
        raise RunError(f"{folder} cannot be written ({error.strerror or error}); free some space") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _known(run: Run, prepared: Prepared) -> Known:
    """tune and calib with what the run has kept.

    Of a run without them some of train, whose pictures serve as well to compare
    two engines.
    """
    if not is_cross_fitted(run):
        parts = [part_of(run, prepared, name) for name in ("tune", "calib")]
        scores = [run.scores(name) for name in ("tune", "calib")]
        if any(part.ids != score.ids for part, score in zip(parts, scores, strict=True)):
            raise RunError(f"{run.path}: the scores are not those of the split; run `resdx train {run.path}` again")
        said = Outputs(np.concatenate([one.logits for one in scores]), np.concatenate([one.embeddings for one in scores]))
        own = np.repeat([False, True], [len(part.ids) for part in parts])
        both = parts[0] + parts[1]
        network = load_network(run)
        found = find_boxes(network, prepared.images, both.rows) if isinstance(network, Detector) else None
        return Known("tune and calib", both, said, own, None if found is None else mean_ap50(found, both.targets))
    part = part_of(run, prepared, "train")
    some = part.at(np.sort(_shuffled(run, part)[: min(ALIKE, len(part.ids) // 2)]))
    outputs = predict_logits(load_network(run), prepared.images, some.rows, views=run.recipe.views)
    return Known("train", some, outputs, np.zeros(len(some.ids), bool))


def _shuffled(run: Run, train: Part) -> NDArray[np.intp]:
    """Places of the train part in an order by chance.

    An engine is compared on the first, where it has to be, and calibrated on the last.
    """
    return np.random.default_rng(run.settings.seed).permutation(len(train.ids))


def write_graph(graph: Graph, size: int, path: Path) -> None:
    """An ONNX graph, in float32, for any number of pictures of `size` pixels at a time.

    Raises RunError where PyTorch gives
    none.
    """
    _needs("onnxscript")
    graph.eval()
    names = ["logits", "probabilities", "embedding", *filter(None, [graph.last])]
    picture = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            graph,
            (picture,),
            dynamo=True,
            verbose=False,
            input_names=["image"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )
        if program is None:
            raise RunError(f"{path.parent.parent}: PyTorch gave no graph")
        program.save(str(path), external_data=False)


def _quantised(
    run: Run, predictor: Predictor, prepared: Prepared, known: Known, graph: Path, folder: Path, guard: bool
) -> tuple[Calibration, Parity, str]:
    """Write an int8 model.xml that the guard lets pass.

    Gives its calibration, parity and what to say of it.
    """
    openvino, nncf = (
        _needs("openvino"),
        _needs("nncf"),
    )
    nncf.set_log_level(logging.ERROR)
    train = part_of(run, prepared, "train")
    spare = len(train.ids) - (0 if known.own.any() else len(known.part.ids))
    some = _shuffled(run, train)[-min(QUANTISED_ON, spare) :]
    pictures = [_pictures(prepared, train.rows[[i]]) for i in some]
    for mixed in (False, True):
        model = openvino.convert_model(graph)
        ignored = nncf.IgnoredScope(names=_kept(model)) if mixed else None
        with contextlib.redirect_stdout(io.StringIO()):
            small = nncf.quantize(
                model,
                nncf.Dataset(pictures),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(pictures),
                ignored_scope=ignored,
            )
        _save(small, folder)
        said, speed = _timed(load_engine(folder, "int8"), prepared, known)
        calibration, note = _calibrated(run, predictor, said, known)
        parity = _parity(said, speed, predictor, calibration, known)
        if parity.passes or not guard:
            kept = "mixed precision: the first convolution and the last quarter stay in float32" if mixed else ""
            return calibration, parity, "; ".join(filter(None, (kept, note)))
    share, number = MOST_FLIPPED
    raise RunError(
        f"int8 answers too differently, also in mixed precision ({parity}); at most {MOST_LOST} of AUROC may be lost, and "
        f"{MOST_LOST_BOXES} of AP50, and {share:.0%} or {number} decisions flip. Export to openvino or bf16, or keep it "
        f"in spite of that with --no-guard"
    )


def _kept(model: Any) -> list[str]:
    """Names of the first convolution and of the last TAIL of all."""
    names = [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() in WEIGHTED]
    return [names[0], *names[-round(TAIL * len(names)) :]]


def _calibrated(run: Run, predictor: Predictor, said: Outputs, known: Known) -> tuple[Calibration, str]:
    """Calibrator, operating points and limits fitted again on what the engine says of calib."""
    if not known.own.any():
        return predictor.calibration, "the run has no calib part, so calibrator and thresholds are those of the trained network"
    calib = known.part.at(np.flatnonzero(known.own))
    old = predictor.calibration
    fitted = fit_calibration(
        run.recipe.task,
        run.recipe.classes,
        said.logits[known.own],
        calib.truth,
        calib.groups,
        balanced_training=run.recipe.learn.rebalances,
        level=old.level,
        distance=predictor.ood_score.distance(said.embeddings[known.own]),
        alpha=old.referral.alpha if old.referral else ALPHA,
    )
    return replace(fitted, boxes=old.boxes, refers=old.refers, referral=fitted.referral if old.referral else None), ""


def _parity(said: Outputs, speed: float, predictor: Predictor, calibration: Calibration, known: Known) -> Parity:
    ours, theirs = predictor.calibration.probabilities(known.said.logits), calibration.probabilities(said.logits)
    referred = [
        np.array([label is None for label, _ in one.decide(p, predictor.ood_score.distance(x.embeddings), logits=x.logits)])
        for one, p, x in ((predictor.calibration, ours, known.said), (calibration, theirs, said))
    ]
    called = predictor.calibration.choose(ours, logits=known.said.logits), calibration.choose(theirs, logits=said.logits)
    return Parity(
        on=known.on,
        cases=len(ours),
        probability=float(np.abs(ours - theirs).max()),
        auroc_torch=_area(calibration, known.part.truth, ours),
        auroc=_area(calibration, known.part.truth, theirs),
        flipped=int((called[0] != called[1]).any(1).sum()),
        referred=int((referred[0] != referred[1]).sum()),
        images_per_second=speed,
        ap50_torch=known.ap50,
        ap50=_boxes(said, calibration, known),
    )


def _boxes(said: Outputs, calibration: Calibration, known: Known) -> float | None:
    """The mean AP50 of what an engine says of the validation images; None where it finds no boxes."""
    if not calibration.boxes or said.maps is None:
        return None
    return mean_ap50([predicted_boxes(grid, calibration.boxes.anchors) for grid in said.maps], known.part.targets)


def _timed(engine: Engine, prepared: Prepared, known: Known) -> tuple[Outputs, float]:
    """What an engine says of the validation images, and how many it answers a second."""
    rows, started = known.part.rows, time.perf_counter()
    outputs = predict_logits(engine, prepared.images, rows, maps=known.ap50 is not None)
    return outputs, len(rows) / (time.perf_counter() - started)


def _pictures(prepared: Prepared, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(B, S, S, 3) as the engines take them."""
    images = np.asarray(prepared.images[rows])
    return np.ascontiguousarray(np.broadcast_to(images, (*images.shape[:3], 3)))


def _area(calibration: Calibration, truth: NDArray[np.float32], p: NDArray[np.float32]) -> float | None:
    name = positive_class(calibration.task, calibration.classes)
    k = calibration.classes.index(name) if name else None
    area = float(macro_auroc(truth, p) if k is None else auroc(truth[:, k], p[:, k]))
    return area if np.isfinite(area) else None


def _needs(library: str) -> ModuleType:
    return optional(library, extra="export", what="exporting", error=RunError)
