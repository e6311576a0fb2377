"""Speed against what one would use instead: python -m benchmarks.speed WORK [--only PART] > benchmarks/speed.md

Every contestant runs in a process of its own, they take turns (A B C A B C ...), and the table has the median of the turns and the ratio of
medians within this run. All have the same ResNet-50, trained for one epoch on phantom films and exported by `resdx export`; the peers load its weights
into timm's ResNet-50. Nothing else may run on the machine meanwhile. A peer that is not installed is said to be absent.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TURNS, SECONDS, SIZE, BATCH, FILES = 3, 8.0, 224, 32, 256
Images = NDArray[np.uint8]


# --- what is measured: each function prepares, and gives a step that answers or learns from a number of pictures


def pictures(count: int = 64) -> Images:
    """Prepared pictures, the same for all."""
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def timm_network(work: Path) -> Any:
    """timm's ResNet-50 with the weights of the run."""
    import timm
    import torch
    from safetensors.torch import load_file

    network = timm.create_model("resnet50", num_classes=2)
    state = load_file(work / "run" / "best.safetensors")
    ours = {key.removeprefix("trunk."): value for key, value in state.items() if key.startswith("trunk.")}
    ours |= {f"fc.{name}": state[f"head.linear.{name}"] for name in ("weight", "bias")}
    missing, strange = network.load_state_dict(ours, strict=False)
    assert not strange and all(key.endswith("num_batches_tracked") for key in missing), (missing, strange)
    torch.set_grad_enabled(False)
    return network.eval()


def tensor(images: Images) -> Any:
    """(B, 3, H, W) normalised, as a plain script does it."""
    import torch

    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std


def eager(work: Path) -> Callable[[], int]:
    """PyTorch as it comes: float32."""
    network, images = timm_network(work), pictures(BATCH)
    return lambda: len(network(tensor(images)).softmax(1))


def tuned(work: Path) -> Callable[[], int]:
    """PyTorch with channels_last, bfloat16 autocast and torch.compile."""
    import torch

    network, images = timm_network(work).to(memory_format=torch.channels_last), pictures(BATCH)
    compiled = torch.compile(network)

    def step() -> int:
        with torch.autocast("cpu", torch.bfloat16):
            return len(compiled(tensor(images).contiguous(memory_format=torch.channels_last)).float().softmax(1))

    return step


def monai(work: Path) -> Callable[[], int]:
    """MONAI's inferer around the same network."""
    from monai.inferers import SimpleInferer

    network, images, infer = timm_network(work), pictures(BATCH), SimpleInferer()
    return lambda: len(infer(tensor(images), network).softmax(1))


def engine(name: str) -> Callable[[Path], Callable[[], int]]:
    """One of ours, on prepared pictures; gives map and embedding as well."""

    def make(work: Path) -> Callable[[], int]:
        from resdx.exported import load_engine

        ready, images = load_engine(work / "run" / f"export-{name}", name), pictures()
        batches = [images[i : i + ready.batch] for i in range(0, len(images), ready.batch)]
        return lambda: sum(len(one.logits) for one in ready.answers(iter(batches)))

    return make


def files(work: Path) -> list[Path]:
    """Films of 512 px as JPEG."""
    return sorted((work / "films").rglob("*.jpg"))[:FILES]


def whole(name: str) -> Callable[[Path], Callable[[], int]]:
    """From files to calibrated answers."""

    def make(work: Path) -> Callable[[], int]:
        from resdx.predict import Predictor

        predictor, names = Predictor.open(work / "run", engine=name, quiet=True), files(work)
        return lambda: len(predictor.predict(names)[0])

    return make


def ultralytics(work: Path) -> Callable[[], int]:
    """Ultralytics' own int8 OpenVINO export of its ResNet-50, from files to probabilities."""
    from ultralytics import YOLO

    folder = work / "ultralytics"
    model, names = YOLO(str(next(folder.glob("*_openvino_model"))), task="classify"), files(work)
    return lambda: sum(1 for _ in model.predict([str(name) for name in names], imgsz=SIZE, stream=True, verbose=False))


def ours_training(work: Path) -> Callable[[], int]:
    """An epoch of resdx on all layers at 128 px, with augmentation."""
    from resdx.parts import part_of
    from resdx.runs import Run
    from resdx.stages import prepared_of
    from resdx.train import Progress, bench_of, run_epoch

    run = Run.open(work / "small", quiet=True)
    prepared = prepared_of(run)
    part = part_of(run, prepared, "train")
    bench, progress = bench_of(run, run.recipe.learn, prepared, part), Progress()

    def step() -> int:
        run_epoch(bench, part, progress, lambda: None)
        return len(part.ids)

    return step


def plain_training(work: Path) -> Callable[[], int]:
    """A plain tuned PyTorch loop on the same prepared pictures: channels_last, bfloat16, fused AdamW, flips."""
    import timm
    import torch

    from resdx.parts import part_of
    from resdx.runs import Run
    from resdx.stages import prepared_of

    run = Run.open(work / "small", quiet=True)
    prepared = prepared_of(run)
    part = part_of(run, prepared, "train")
    network = timm.create_model("resnet50", num_classes=2).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    truth, order = torch.from_numpy(part.truth.argmax(1)), np.random.default_rng(0)

    def step() -> int:
        for at in np.array_split(order.permutation(len(part.rows)), max(1, len(part.rows) // 32)):
            images = np.broadcast_to(prepared.images[part.rows[at]], (len(at), *prepared.images.shape[1:3], 3))
            x = tensor(np.ascontiguousarray(images)).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                loss = torch.nn.functional.cross_entropy(network(x.flip(-1)).float(), truth[at])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return len(part.rows)

    return step


def ultralytics_training(work: Path) -> Callable[[], int]:
    """Epochs of Ultralytics' classify training of its ResNet-50 at 128 px on the same films, without what stands around them."""
    from ultralytics import YOLO

    spent = {"start": 0.0, "seconds": 0.0}
    model = YOLO("yolov8-cls-resnet50.yaml")

    def begin(_: Any) -> None:
        spent["start"] = time.perf_counter()

    def end(_: Any) -> None:
        spent["seconds"] += time.perf_counter() - spent["start"]

    model.add_callback("on_train_epoch_start", begin)
    model.add_callback("on_train_epoch_end", end)
    folder = work / "ultralytics-films"
    learnt = len(list((folder / "train").rglob("*.jpg")))
    asked = {"data": str(folder), "imgsz": 128, "batch": 32, "workers": 2, "device": "cpu", "plots": False, "save": False}

    def step() -> int:
        model.train(**asked, epochs=1, val=False, verbose=False, project=str(work / "ultralytics-runs"), exist_ok=True)
        raise _Timed(learnt / spent["seconds"])  # its own set-up does not count

    return step


def lightning_training(work: Path) -> Callable[[], int]:
    """Lightning's trainer around the plain loop, in bfloat16."""
    import lightning
    import timm
    import torch

    from resdx.parts import part_of
    from resdx.runs import Run
    from resdx.stages import prepared_of

    run = Run.open(work / "small", quiet=True)
    prepared = prepared_of(run)
    part = part_of(run, prepared, "train")
    images = np.broadcast_to(prepared.images[part.rows], (len(part.rows), *prepared.images.shape[1:3], 3))
    data = torch.utils.data.TensorDataset(torch.from_numpy(images.copy()), torch.from_numpy(part.truth.argmax(1)))

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = timm.create_model("resnet50", num_classes=2).to(memory_format=torch.channels_last)

        def training_step(self, batch: Any, _: int) -> Any:
            x = tensor(batch[0].numpy()).contiguous(memory_format=torch.channels_last)
            return torch.nn.functional.cross_entropy(self.network(x.flip(-1)).float(), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=1e-3, fused=True)

    module = Module()

    def step() -> int:
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            precision="bf16-mixed",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=32, shuffle=True, drop_last=True))
        return len(data) // 32 * 32

    return step


def partly_frozen(frozen: str, kept: bool) -> Callable[[Path], Callable[[], int]]:
    """10 epochs on 4 variations with a part frozen, which is kept or run anew; otherwise the same."""

    def make(work: Path) -> Callable[[], int]:
        from resdx.parts import part_of
        from resdx.runs import Run
        from resdx.stages import prepared_of
        from resdx.train import fit

        run = Run.open(work / "small", quiet=True)
        prepared = prepared_of(run)
        train, tune = (part_of(run, prepared, name) for name in ("train", "tune"))
        recipe = run.recipe.set("model.trunk.frozen", frozen)
        learn = replace(run.recipe.learn, epochs=10, kept_views=4, kept_gb=8.0 if kept else 0.0)
        settings = replace(run.settings, choices={"dtype": "bfloat16"})

        def step() -> int:
            with tempfile.TemporaryDirectory(dir=work) as folder:
                fit(
                    replace(run, path=Path(folder), recipe=replace(recipe, learn=learn), settings=settings), prepared, train, tune
                )
            return 10 * len(train.ids)

        return step

    return make


class _Timed(Exception):
    """Images a second, where a contestant has to take the time itself."""


@dataclass(frozen=True)
class Part:
    """Contestants that are compared, ours last; `bars` are (ours, peer, at least this ratio). Long steps need no turn that warms up."""

    title: str
    unit: str
    contestants: dict[str, Callable[[Path], Callable[[], int]]]
    bars: tuple[tuple[str, str, float], ...]
    long: bool = False


PARTS = {
    "inference": Part(
        "Inference, prepared pictures of 224 px",
        "images/s",
        {
            "PyTorch eager, float32": eager,
            "PyTorch tuned (channels_last, bfloat16, compiled)": tuned,
            "MONAI": monai,
            "resdx, ONNX Runtime": engine("onnx"),
            "resdx, OpenVINO float32": engine("openvino"),
            "resdx, OpenVINO bfloat16": engine("bf16"),
            "resdx, int8": engine("int8"),
        },
        (
            ("resdx, int8", "PyTorch eager, float32", 5),
            ("resdx, int8", "PyTorch tuned (channels_last, bfloat16, compiled)", 2.3),
            ("resdx, int8", "resdx, ONNX Runtime", 4),
            ("resdx, OpenVINO float32", "PyTorch eager, float32", 1.8),
        ),
    ),
    "files": Part(
        "From JPEG files of 512 px to answers",
        "images/s",
        {
            "Ultralytics, int8 OpenVINO": ultralytics,
            "resdx, int8, prepared pictures": engine("int8"),
            "resdx, int8": whole("int8"),
        },
        (("resdx, int8", "Ultralytics, int8 OpenVINO", 1.3), ("resdx, int8", "resdx, int8, prepared pictures", 0.8)),
    ),
    "training": Part(
        "Training all layers at 128 px",
        "images/s",
        {
            "Ultralytics, classify": ultralytics_training,
            "Lightning, bfloat16": lightning_training,
            "plain tuned PyTorch loop": plain_training,
            "resdx": ours_training,
        },
        (
            ("resdx", "Ultralytics, classify", 4),
            ("resdx", "plain tuned PyTorch loop", 0.9),
            ("resdx", "Lightning, bfloat16", 0.9),
        ),
    ),
    "frozen": Part(
        "Ten epochs on 4 variations of each case at 128 px, a part frozen",
        "images/s",
        {
            "layer4 trained, frozen part run anew": partly_frozen("layer3", kept=False),
            "layer4 trained, frozen part kept": partly_frozen("layer3", kept=True),
            "head trained, frozen part run anew": partly_frozen("all", kept=False),
            "head trained, frozen part kept": partly_frozen("all", kept=True),
        },
        (
            ("layer4 trained, frozen part kept", "layer4 trained, frozen part run anew", 1.5),
            ("head trained, frozen part kept", "head trained, frozen part run anew", 8),
        ),
        long=True,
    ),
}


# --- single figures, each from a process of its own


def latency(work: Path) -> dict[str, float]:
    """Milliseconds for one prepared picture and for one file, int8, warm: median and 95th percentile."""
    from resdx.exported import load_engine
    from resdx.predict import Predictor

    ready, images = load_engine(work / "run" / "export-int8", "int8"), pictures(1)
    predictor, name = Predictor.open(work / "run", engine="int8", quiet=True), files(work)[:1]
    ways = {"prepared picture": lambda: list(ready.answers(iter([images]))), "file of 512 px": lambda: predictor.predict(name)}
    found = {}
    for way, step in ways.items():
        times = []
        for _ in range(220):
            started = time.perf_counter()
            step()
            times.append(1000 * (time.perf_counter() - started))
        found |= {f"{way}, median ms": float(np.median(times[20:])), f"{way}, p95 ms": float(np.quantile(times[20:], 0.95))}
    return found


def memory(work: Path) -> dict[str, float]:
    """The most memory, in GB, that answering 5,000 files takes."""
    from resdx.predict import Predictor

    names = files(work)
    Predictor.open(work / "run", engine="int8", quiet=True).predict([names[i % len(names)] for i in range(5000)])
    return {"5,000 files, int8, peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


def second_prepare(work: Path) -> dict[str, float]:
    """What preparing takes once it is done, as a share of the first time."""
    from resdx.runs import Run
    from resdx.stages import prepared_of

    run, seconds = Run.open(work / "small", quiet=True), []
    shutil.rmtree(work / "cache")
    for _ in range(2):
        started = time.perf_counter()
        prepared_of(run)
        seconds.append(time.perf_counter() - started)
    return {"first prepare, s": seconds[0], "second, %": 100 * seconds[1] / seconds[0]}


def cost_of_maps(work: Path) -> dict[str, float]:
    """Per cent that the map and the embedding add to the int8 graph, in turns with the same graph asked for its logits alone."""
    import openvino

    folder, images = work / "run" / "export-int8", pictures(4)
    core, rates = openvino.Core(), {"all": [], "logits": []}
    models = {}
    for way in rates:
        model = core.read_model(str(folder / "model.xml"))
        if way == "logits":
            result = next(one for one in model.get_results() if "logits" in one.input_value(0).get_names())
            model = openvino.Model([result], model.get_parameters())
        models[way] = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    for _ in range(15):
        for way, request in models.items():
            started = time.perf_counter()
            for _ in range(6):
                request.infer({0: images})
            rates[way].append(time.perf_counter() - started)
    return {"maps and embedding, added %": 100 * (np.median(rates["all"]) / np.median(rates["logits"]) - 1)}


FACTS = {"latency": latency, "memory": memory, "prepare": second_prepare, "maps": cost_of_maps}
AIMS = {
    "prepared picture, p95 ms": 25,
    "5,000 files, int8, peak GB": 1.5,
    "second, %": 2,
    "maps and embedding, added %": 5,
}  # at most


# --- the harness


def contest(work: Path, part: Part) -> dict[str, list[float]]:
    """Images a second of each contestant, turn by turn; an absent one has none."""
    found: dict[str, list[float]] = {name: [] for name in part.contestants}
    for _ in range(TURNS):
        for name in part.contestants:
            asked = [sys.executable, "-m", "benchmarks.speed", str(work), "--one", name]
            done = subprocess.run(asked, capture_output=True, text=True)
            if done.returncode:
                print(f"{name}: {(done.stderr.strip().splitlines() or ['?'])[-1]}", file=sys.stderr)
                continue
            found[name].append(json.loads(done.stdout.splitlines()[-1]))  # the last line: peers talk
            print(name, found[name][-1], file=sys.stderr, flush=True)
    return found


def asked_alone(work: Path, name: str) -> dict[str, float]:
    """Single figures, by a process of its own."""
    asked = [sys.executable, "-m", "benchmarks.speed", str(work), "--one", name]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def one(work: Path, name: str) -> float:
    """Images a second of one contestant, after a turn that warms up."""
    part = next(part for part in PARTS.values() if name in part.contestants)
    step = part.contestants[name](work)
    try:
        if not part.long:
            step()
    except _Timed as said:
        return float(said.args[0])
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        count += step()
    return count / (time.perf_counter() - started)


def made(work: Path) -> None:
    """Films, a run of one epoch at 224 px and its exports, and a run that is prepared at 128 px."""
    from resdx.export import export
    from resdx.phantoms import draw_phantoms
    from resdx.recipe import Training
    from resdx.recipes import get_recipe
    from resdx.runs import Run
    from resdx.stages import EVIDENCE, repeat
    from resdx.study import run, start

    films = work / "films"
    if not films.exists():
        draw_phantoms(work / "drawn", persons=150, size=512)
        for path in sorted((work / "drawn").rglob("*.png")):
            target = films / path.relative_to(work / "drawn").with_suffix(".jpg")
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).save(target, quality=90)
    plain = get_recipe("plain")
    if not (work / "run" / "metrics.json").exists():
        recipe = replace(plain.set("size", str(SIZE)), learn=Training(epochs=1, batch=16, ema=0.9))
        run(films, recipe=recipe, out=work / "run", skip=EVIDENCE)
    engines = [name for name in ("onnx", "openvino", "bf16", "int8") if not (work / "run" / f"export-{name}").exists()]
    if engines:
        export(Run.open(work / "run"), *engines, guard=False)
    if not (work / "small" / "run.json").exists():
        start(films, recipe=replace(plain, learn=Training(epochs=1, batch=32)), out=work / "small")
        for stage in ("scan", "audit", "split", "prepare"):
            repeat(Run.open(work / "small"), stage)
    if not (work / "ultralytics-films").exists():
        for part in ("train", "val"):
            shutil.copytree(films, work / "ultralytics-films" / part)
    if importlib.util.find_spec("ultralytics") and not list((work / "ultralytics").glob("*_openvino_model")):
        _ultralytics_export(work / "ultralytics", films)


def _ultralytics_export(folder: Path, films: Path) -> None:
    from ultralytics import YOLO

    folder.mkdir(parents=True, exist_ok=True)
    home = Path.cwd()
    os.chdir(folder)
    try:
        YOLO("yolov8-cls-resnet50.yaml").export(format="openvino", int8=True, imgsz=SIZE, data=str(films))
    finally:
        os.chdir(home)


def page(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The page as Markdown."""
    yield "# Speed\n"
    yield f"{(__doc__ or '').split(chr(10), 1)[1].strip()}\n"
    yield f"{_machine()}. Median of {TURNS} turns of {SECONDS:.0f} s, with their range.\n"
    for key, rows in found.items():
        if key in FACTS:
            continue
        part = PARTS[key]
        yield f"## {part.title}\n\n| | {part.unit} | range |\n|---|---|---|"
        for name, values in rows.items():
            shown = f"{statistics.median(values):.1f} | {min(values):.1f}-{max(values):.1f}" if values else "absent | -"
            yield f"| {name} | {shown} |"
        yield "\n| ratio | measured | aim |\n|---|---|---|"
        for ours, peer, bar in part.bars:
            if rows.get(ours) and rows.get(peer):
                ratio = statistics.median(rows[ours]) / statistics.median(rows[peer])
                yield f"| {ours} / {peer} | {ratio:.2f} | {bar:g}{'' if ratio >= bar else ' (missed)'} |"
        yield ""
    if singles := {name: value for key in FACTS for name, value in found.get(key, {}).items()}:
        yield "## Single figures\n\n| | measured | at most |\n|---|---|---|"
        for name, value in singles.items():
            aim = AIMS.get(name)
            missed = " (missed)" if aim is not None and value > aim else ""
            yield f"| {name} | {value:.3g} | {'-' if aim is None else f'{aim:g}'}{missed} |"


def _machine() -> str:
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")),
        "",
    )
    flags = Path("/proc/cpuinfo").read_text()
    has = [name for name in ("avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if name in flags]
    return f"{cpu or platform.processor()}, {os.cpu_count()} cores, {', '.join(has)}; Python {platform.python_version()}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", nargs="*", choices=[*PARTS, *FACTS], default=[*PARTS, *FACTS])
    parser.add_argument("--one", help="one contestant, in this process")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(FACTS[asked.one](asked.work)) if asked.one in FACTS else one(asked.work, asked.one))
        print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB", file=sys.stderr)
        return
    made(asked.work)
    kept = asked.work / "speed.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for key in asked.only:
        found[key] = contest(asked.work, PARTS[key]) if key in PARTS else asked_alone(asked.work, key)
        kept.write_text(json.dumps(found))
    print("\n".join(page(found)))


if __name__ == "__main__":
    main()
