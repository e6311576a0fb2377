"""`python -m benchmarks.phantom_pictures FOLDER`: the pictures of phantoms that the documentation shows."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resdx.data.cases import Prediction
from resdx.data.phantoms import draw_layout, draw_phantoms
from resdx.data.sources.ecg import AAMI
from resdx.inference.ecg_strip import draw_strip
from resdx.models.heads.specs import Yolo
from resdx.models.specs import Cnn, Net
from resdx.recipes.learning import Training
from resdx.recipes.library import get_recipe
from resdx.studies.stages import EVIDENCE
from resdx.studies.study import run
from resdx.transforms.augment import Flip
from resdx.transforms.image import Resize
from resdx.transforms.readers.ecg import ReadBeat
from resdx.transforms.readers.voice import ReadSpectrogram, ReadVoice

STRIPS: dict[str, tuple[dict[str, Any], ...]] = {  # picture -> one row of films a collection
    "phantoms": ({},),
    "phantoms-planted": ({"cue": "corner", "shortcut": 1.0}, {"cue": "border", "shortcut": 1.0}),
    "phantoms-twins": ({"organ": False}, {"radius": (0.03, 0.05), "contrast": 0.5}),
}
FILMS, SIZE = 5, 144  # of a row; pixels of a film


def main(folder: Path) -> None:
    """Write each strip as WebP into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in STRIPS.items():
        with tempfile.TemporaryDirectory() as place:
            strip = np.vstack([row(Path(place) / str(number), options) for number, options in enumerate(rows)])
        Image.fromarray(strip).save(folder / f"{name}.webp", quality=70, method=6)
    with tempfile.TemporaryDirectory() as place:
        heartbeats(Path(place) / "set").save(folder / "heartbeats.webp", quality=70, method=6)
    with tempfile.TemporaryDirectory() as place:
        voices(Path(place) / "set").save(folder / "voices.webp", quality=70, method=6)
    with tempfile.TemporaryDirectory() as place:
        boxes(Path(place)).save(folder / "boxes.webp", quality=70, method=6)


def row(folder: Path, options: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The same persons, two of them without an opacity, under the options of one collection: (SIZE + 4, FILMS x (SIZE + 4))."""
    truth = draw_phantoms(folder, persons=FILMS, images=1, size=SIZE, prevalence=0.6, seed=5, **options)
    cases = sorted(truth.manifest.cases, key=lambda case: case.label)
    return np.hstack([np.pad(np.asarray(Image.open(folder / case.path)), 2, constant_values=255) for case in cases])


def heartbeats(folder: Path) -> Image.Image:
    """A recording with its beats marked, and the picture of a beat of each class."""
    truth = [case for case in draw_layout("mitbih", folder, persons=2).cases if case.group == "101"]
    named = {case.path: dict(AAMI)[case.label] for case in truth}
    draw_strip(
        f"{folder}/101.hea",
        ("MLII",),
        [Prediction(f"{folder}/{path}", {}, name) for path, name in named.items()],
        folder / "a.png",
    )
    strip = Image.open(folder / "a.png").convert("RGB")
    side = strip.width // 8
    page = Image.new("RGB", (strip.width, strip.height + side), "white")
    page.paste(strip)
    for k, name in enumerate("NSVF"):
        path = next(path for path, other in named.items() if other == name)
        pixels = np.round(255 * ReadBeat()(f"{folder}/{path}")[..., 0]).astype(np.uint8)
        page.paste(Image.fromarray(pixels).resize((side - 8, side - 8)), ((2 * k + 1) * side - side // 2, strip.height))
    return page


def voices(folder: Path) -> Image.Image:
    """The spectrogram and the heat map of an even and of an uneven, breathy voice."""
    truth = draw_layout("vowels", folder, persons=2).cases
    page = Image.new("RGB", (4 * 2 * SIZE, 2 * SIZE), "white")
    for k, (case, read) in enumerate((case, read) for case in (truth[0], truth[3]) for read in (ReadSpectrogram(), ReadVoice())):
        pixels = np.round(255 * read(f"{folder}/{case.path}")[..., 0]).astype(np.uint8)
        page.paste(Image.fromarray(pixels).resize((2 * SIZE - 8, 2 * SIZE - 8), Image.Resampling.NEAREST), (k * 2 * SIZE + 4, 4))
    return page


def boxes(folder: Path) -> Image.Image:
    """Discs that stand for faces, and what a small network that was trained on others of them finds."""
    draw_layout("face-mask", folder / "set", persons=80)
    recipe = replace(
        get_recipe("face_masks"),
        prepare=(Resize(64, keep="pad"),),
        augment=(Flip(),),
        model=Net(Cnn((16, 32, 64)), Yolo(count=2, width=32, layers=1)),
        learn=Training(epochs=20, batch=8, optimiser="adam", weight_decay=0.0, lr=3e-3, ema=0.9),
    )
    done = run(folder / "set", recipe=recipe, out=folder / "run", skip=EVIDENCE, quiet=True).run
    shown = [Image.open(done.path / "boxes" / f"{k}.png").resize((2 * SIZE, 2 * SIZE)) for k in range(1, 5)]
    return Image.fromarray(np.hstack([np.pad(np.asarray(one), ((2, 2), (2, 2), (0, 0)), constant_values=255) for one in shown]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
