"""Speed against what one would use instead: python -m benchmarks.speed WORK [--only PART] > benchmarks/speed.md

Every contestant runs in a process of its own, they take turns (A B C A B C ...), and the table has the median of the turns and
the ratio of medians within this run. All have the same ResNet-50, trained for one epoch on phantom films and exported by `resdx
export`; the peers load its weights into timm's ResNet-50. Nothing else may run on the machine meanwhile. A peer that is not
installed is said to be absent.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot
from PIL import Image

from benchmarks.contestants import PARTS, SIZE, Part, Timed, allow_torchvision, files, pictures

mpl.use("agg")
TURNS, SECONDS = 3, 8.0
MACHINES = Path(__file__).parent / "figures" / "speed-machines.json"  # what each run on each machine gave
INT8 = "resdx, int8"
QUOTED = {  # short name of a ratio -> part, ours, peer
    "int8 / eager": ("inference", INT8, "PyTorch eager, float32"),
    "int8 / tuned": ("inference", INT8, "PyTorch tuned (channels_last, bfloat16, compiled)"),
    "int8 / ONNX Runtime": ("inference", INT8, "resdx, ONNX Runtime"),
    "files, int8 / Ultralytics int8": ("files", INT8, "Ultralytics, int8 OpenVINO"),
    "training / Ultralytics": ("training", "resdx", "Ultralytics, classify"),
    "training / tuned loop": ("training", "resdx", "plain tuned PyTorch loop"),
}


# --- single figures, each from a process of its own


def latency(work: Path) -> dict[str, float]:
    """Milliseconds for one prepared picture and for one file, int8, warm: median and 95th percentile."""
    from resdx.inference.bundle import load_engine
    from resdx.inference.predictor import Predictor

    ready, images = load_engine(work / "run" / "export-int8", "int8"), pictures(1)
    predictor, name = Predictor.open(work / "run", engine="int8", quiet=True), files(work)[:1]
    ways = {"prepared picture": lambda: list(ready.predict(iter([images]))), "file of 512 px": lambda: predictor.predict(name)}
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
    from resdx.inference.predictor import Predictor

    names = files(work)
    Predictor.open(work / "run", engine="int8", quiet=True).predict([names[i % len(names)] for i in range(5000)])
    return {"5,000 files, int8, peak GB": peak()}


def peak() -> float:
    """The most memory that this process has held, in GB; what `getrusage` says begins at what the parent held."""
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return float(held.split()[1]) * 1024 / 1e9


def second_prepare(work: Path) -> dict[str, float]:
    """What preparing takes once it is done, as a share of the first time."""
    from resdx.runs.prepared import prepared_of
    from resdx.runs.run import Run

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
    except Timed as said:
        return float(said.args[0])
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        count += step()
    return count / (time.perf_counter() - started)


def made(work: Path) -> None:
    """Films, a run of one epoch at 224 px and its exports, and a run that is prepared at 128 px."""
    from resdx.data.phantoms import draw_phantoms
    from resdx.recipes.learning import Training
    from resdx.recipes.library import get_recipe
    from resdx.runs.run import Run
    from resdx.studies.export import export
    from resdx.studies.stages import EVIDENCE, repeat, resume
    from resdx.studies.start import start

    films = work / "films"
    if not films.exists():
        draw_phantoms(work / "drawn", persons=150, size=512, variety=0)
        for path in sorted((work / "drawn").rglob("*.png")):
            target = films / path.relative_to(work / "drawn").with_suffix(".jpg")
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).save(target, quality=90)
    plain = get_recipe("plain")
    if not (work / "run" / "run.json").exists():
        recipe = replace(plain.set("size", str(SIZE)), learn=Training(epochs=1, batch=16, ema=0.9))
        start(films, recipe=recipe, out=work / "run", skip=EVIDENCE)
    resume(Run.open(work / "run"))
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
    allow_torchvision()
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
    yield from machines(json.loads(MACHINES.read_text()))
    yield f"## The last run\n\n{_machine()}. Median of {TURNS} turns of {SECONDS:.0f} s, with their range.\n"
    yield "![Images a second of resdx and of what one would use instead](../docs/pictures/speed.webp)\n"
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


def ratios(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """What is quoted of a run: the ratios of medians by their short names, where both were measured."""
    medians = {
        key: {name: statistics.median(values) for name, values in rows.items() if values}
        for key, rows in found.items()
        if key in PARTS
    }
    return {
        short: medians[key][ours] / medians[key][peer]
        for short, (key, ours, peer) in QUOTED.items()
        if ours in medians.get(key, {}) and peer in medians.get(key, {})
    }


def machines(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A table with a row a run on a machine, and the lowest of each ratio, which is what may be quoted."""
    yield "## Ratios by machine\n\nQuote the lowest: a ratio depends on the machine and on its day. `make bench` adds a row.\n"
    yield f"| machine | {' | '.join(QUOTED)} |\n|---|{'---|' * len(QUOTED)}"
    for run in runs:
        cells = [f"{run['ratios'][short]:.2f}" if short in run["ratios"] else "-" for short in QUOTED]
        yield f"| {run['machine']} | {' | '.join(cells)} |"
    lowest = [min(run["ratios"].get(short, float("inf")) for run in runs) for short in QUOTED]
    yield f"| **lowest** | {' | '.join(f'**{value:.2f}**' for value in lowest)} |\n"


def picture(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Bars of the median rate of every contestant, a panel a part, ours dark."""
    parts = [key for key in PARTS if any(found.get(key, {}).values())]
    heights = [sum(bool(values) for values in found[key].values()) for key in parts]
    figure, panels = pyplot.subplots(
        len(parts), 1, figsize=(8, 0.34 * sum(heights) + 0.9 * len(parts)), squeeze=False, height_ratios=heights
    )
    for key, panel in zip(parts, panels[:, 0], strict=True):
        medians = {name: statistics.median(values) for name, values in found[key].items() if values}
        ours = [name.startswith("resdx") or name.endswith("kept") for name in medians]
        bars = panel.barh(list(medians), list(medians.values()), color=["#0b4f82" if own else "#b9c4cd" for own in ours])
        panel.bar_label(bars, fmt="%.0f", padding=3, fontsize=9)
        panel.invert_yaxis()
        panel.set_title(f"{PARTS[key].title}, {PARTS[key].unit}", loc="left", fontsize=10)
        panel.spines[["top", "right", "bottom"]].set_visible(False)
        panel.tick_params(bottom=False, labelbottom=False, left=False, labelsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110, pil_kwargs={"quality": 85})
    pyplot.close(figure)


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
        print(f"peak {peak():.2f} GB", file=sys.stderr)
        return
    table = os.fdopen(os.dup(1), "w")  # peers talk, and the table goes to a file
    os.dup2(2, 1)
    made(asked.work)
    kept = asked.work / "speed.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for key in asked.only:
        found[key] = contest(asked.work, PARTS[key]) if key in PARTS else asked_alone(asked.work, key)
        kept.write_text(json.dumps(found))
    runs = json.loads(MACHINES.read_text())
    MACHINES.write_text(json.dumps([*runs, {"machine": _machine(), "ratios": ratios(found)}], indent=1) + "\n")
    print("\n".join(page(found)), file=table, flush=True)
    picture(found, Path(__file__).parent.parent / "docs" / "pictures" / "speed.webp")


if __name__ == "__main__":
    main()
