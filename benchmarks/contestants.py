"""What the speed table compares.

Each function prepares in its own process and gives a step that answers or learns from a number of pictures.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE, BATCH, FILES = 224, 32, 256
Images = NDArray[np.uint8]
Step = Callable[[], int]


def pictures(count: int = 64) -> Images:
    """Prepared pictures, the same for all."""
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def allow_torchvision() -> None:
    """Let peers import torchvision where its compiled part does not fit the build of torch (see resdx.models.operators)."""
    from resdx.models.backbones.timm_zoo import declare_torchvision_operators

    declare_torchvision_operators()


def timm_network(work: Path) -> Any:
    """timm's ResNet-50 with the weights of the run."""
    allow_torchvision()
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


def eager(work: Path) -> Step:
    """PyTorch as it comes: float32."""
    network, images = timm_network(work), pictures(BATCH)
    return lambda: len(network(tensor(images)).softmax(1))


def tuned(work: Path) -> Step:
    """PyTorch with channels_last, bfloat16 autocast and torch.compile."""
    import torch

    network, images = timm_network(work).to(memory_format=torch.channels_last), pictures(BATCH)
    compiled = torch.compile(network)

    def step() -> int:
        with torch.autocast("cpu", torch.bfloat16):
            return len(compiled(tensor(images).contiguous(memory_format=torch.channels_last)).float().softmax(1))

    return step


def monai(work: Path) -> Step:
    """MONAI's inferer around the same network."""
    from monai.inferers import SimpleInferer

    network, images, infer = timm_network(work), pictures(BATCH), SimpleInferer()
    return lambda: len(infer(tensor(images), network).softmax(1))


def engine(name: str) -> Callable[[Path], Step]:
    """One of ours, on prepared pictures; gives map and embedding as well."""

    def make(work: Path) -> Step:
        from resdx.inference.bundle import load_engine

        ready, images = load_engine(work / "run" / f"export-{name}", name), pictures()
        batches = [images[i : i + ready.batch] for i in range(0, len(images), ready.batch)]
        return lambda: sum(len(one.logits) for one in ready.predict(iter(batches)))

    return make


def files(work: Path) -> list[Path]:
    """Films of 512 px as JPEG."""
    return sorted((work / "films").rglob("*.jpg"))[:FILES]


def whole(name: str) -> Callable[[Path], Step]:
    """From files to calibrated answers."""

    def make(work: Path) -> Step:
        from resdx.inference.predictor import Predictor

        predictor, names = Predictor.open(work / "run", engine=name, quiet=True), files(work)
        return lambda: len(predictor.predict(names)[0])

    return make


def ultralytics(work: Path) -> Step:
    """Ultralytics' own int8 OpenVINO export of its ResNet-50, from files to probabilities."""
    allow_torchvision()
    from ultralytics import YOLO

    folder = work / "ultralytics"
    model, names = YOLO(str(next(folder.glob("*_openvino_model"))), task="classify"), files(work)
    return lambda: sum(1 for _ in model.predict([str(name) for name in names], imgsz=SIZE, stream=True, verbose=False))


def small(work: Path) -> Any:
    """The run of films at 128 px, its prepared pictures and its training set."""
    from resdx.runs.partition import part_of
    from resdx.runs.prepared import prepared_of
    from resdx.runs.run import Run

    run = Run.open(work / "small", quiet=True)
    prepared = prepared_of(run)
    return run, prepared, part_of(run, prepared, "train")


def ours_training(work: Path) -> Step:
    """An epoch of resdx on all layers at 128 px, with augmentation."""
    from resdx.training.checkpoint import Progress
    from resdx.training.loop import bench_of, run_epoch

    run, prepared, part = small(work)
    bench, progress = bench_of(run, run.recipe.learn, prepared, part), Progress()

    def step() -> int:
        run_epoch(bench, part, progress, lambda: None)
        return len(part.ids)

    return step


def plain_training(work: Path) -> Step:
    """A plain tuned PyTorch loop on the same prepared pictures: channels_last, bfloat16, fused AdamW, flips."""
    allow_torchvision()
    import timm
    import torch

    _, prepared, part = small(work)
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


def ultralytics_training(work: Path) -> Step:
    """Epochs of Ultralytics' classify training of its ResNet-50 at 128 px on the same films, without what stands around them."""
    allow_torchvision()
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
        raise Timed(learnt / spent["seconds"])  # its own set-up does not count

    return step


def lightning_training(work: Path) -> Step:
    """Lightning's trainer around the plain loop, in bfloat16."""
    allow_torchvision()
    import lightning
    import timm
    import torch

    _, prepared, part = small(work)
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


def partly_frozen(frozen: str, kept: bool) -> Callable[[Path], Step]:
    """10 epochs on 4 variations with a part frozen, which is kept or run anew; otherwise the same."""

    def make(work: Path) -> Step:
        from resdx.runs.partition import part_of
        from resdx.training.loop import fit

        run, prepared, train = small(work)
        tune = part_of(run, prepared, "tune")
        recipe = run.recipe.set("model.backbone.frozen", frozen)
        learn = replace(run.recipe.learn, epochs=10, cached_views=4, cache_gb=8.0 if kept else 0.0)
        settings = replace(run.settings, choices={"dtype": "bfloat16"})

        def step() -> int:
            with tempfile.TemporaryDirectory(dir=work) as folder:
                fit(
                    replace(run, path=Path(folder), recipe=replace(recipe, learn=learn), settings=settings), prepared, train, tune
                )
            return 10 * len(train.ids)

        return step

    return make


class Timed(Exception):
    """Images a second, where a contestant has to take the time itself."""


@dataclass(frozen=True)
class Part:
    """Contestants that are compared, ours last.

    `bars` are (ours, peer, at least this ratio). Long steps need no turn that warms up.
    """

    title: str
    unit: str
    contestants: dict[str, Callable[[Path], Step]]
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
        "Ten epochs on 4 variations, 128 px, a part frozen",
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
