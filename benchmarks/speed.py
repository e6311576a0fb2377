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
import statistics
import subprocess
import sys
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


@dataclass(frozen=True)
class Part:
    """Contestants that are compared, ours last; `bars` are (ours, peer, at least this ratio)."""

    title: str
    unit: str
    contestants: dict[str, Callable[[Path], Callable[[], int]]]
    bars: tuple[tuple[str, str, float], ...]


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
        {"plain tuned PyTorch loop": plain_training, "resdx": ours_training},
        (("resdx", "plain tuned PyTorch loop", 0.9),),
    ),
}


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
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(name, found[name][-1], file=sys.stderr, flush=True)
    return found


def one(work: Path, name: str) -> float:
    """Images a second of one contestant, after a turn that warms up."""
    step = next(part.contestants[name] for part in PARTS.values() if name in part.contestants)(work)
    step()
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


def page(found: dict[str, dict[str, list[float]]]) -> Iterator[str]:
    """The page as Markdown."""
    yield "# Speed\n"
    yield f"{(__doc__ or '').split(chr(10), 1)[1].strip()}\n"
    yield f"{_machine()}. Median of {TURNS} turns of {SECONDS:.0f} s, with their range.\n"
    for key, rows in found.items():
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
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--one", help="one contestant, in this process")
    asked = parser.parse_args()
    if asked.one:
        print(one(asked.work, asked.one))
        print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB", file=sys.stderr)
        return
    made(asked.work)
    kept = asked.work / "speed.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for key in asked.only:
        found[key] = contest(asked.work, PARTS[key])
        kept.write_text(json.dumps(found))
    print("\n".join(page({key: found[key] for key in PARTS if key in found})))


if __name__ == "__main__":
    main()
