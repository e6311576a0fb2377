"""The review's own figures, drawn anew from phantoms.

Enhanced radiographs, a CT slice before and after, brain tumours, an eye, and networks. Nothing here shows a person. The
phantoms are synthetic, and every picture says by which step it was made.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from ...data.phantoms.film import OPACITY, draw_film, draw_person
from ...data.phantoms.heart import Heart, draw_ecg
from ...data.phantoms.slices import draw_chest_slice, draw_eye, draw_head_slice
from ...data.phantoms.voice import draw_voice
from ...errors import RecipeError
from ...files import write_bytes, write_text
from ...models.network import Network, build
from ...models.specs import (
    Cnn,
    MobileNetV1,
    Net,
    Pretrained,
    ResidualAttention,
    ResNet,
)
from ...report.render import render
from ...transforms.image import (
    CircularCrop,
    Clahe,
    ContourCrop,
    Equalise,
    EyeRadius,
    HighEmphasis,
    Resize,
    Smooth,
    SubtractBlur,
    UnsharpMask,
)
from ...transforms.lung import LungCrop, LungMask
from ...transforms.readers.ecg import WignerVille
from ...transforms.readers.recording import at_rate, without_noise
from ...transforms.readers.voice import ReadSpectrogram, ReadVoice
from ..compare import make_folder

Array = NDArray[np.float32]

SIDE = 256  # pixels of a picture
BEAT_RATE = 128.0  # samples a second of a heartbeat
SHOWN = 224  # pixels that the networks are told for
NETWORKS: Mapping[str, Net] = {
    "ResNet-50": Net(ResNet(50)),
    "VGG-16": Net(Pretrained("vgg16")),
    "DenseNet-121": Net(Pretrained("densenet121")),
    "MobileNet, width 1": Net(MobileNetV1()),
    "Residual attention network": Net(ResidualAttention()),
    "A small network": Net(Cnn()),
}


@dataclass(frozen=True)
class Strip:
    """A row of pictures: what it shows, which systems do so, and a caption a picture."""

    name: str
    title: str
    systems: str
    pictures: tuple[tuple[str, Array], ...]


def gallery(out: Path, *, seed: int = 5) -> Path:
    """Write gallery.html and each picture as WebP into `out`, and give the path of the page.

    Raises RunError where it cannot be
    made.
    """
    make_folder(out)
    rows = []
    for strip in strips(seed):
        shown = []
        for k, (caption, picture) in enumerate(strip.pictures):
            data = _webp(picture)
            write_bytes(out / f"{strip.name}-{k}.webp", data)
            shown.append({"caption": caption, "url": "data:image/webp;base64," + base64.b64encode(data).decode()})
        rows.append({"title": strip.title, "systems": strip.systems, "pictures": shown})
    networks, absent = [], []
    for name, net in NETWORKS.items():
        try:
            networks.append({"name": name, **told(net)})
        except RecipeError as error:
            absent.append({"name": name, "why": str(error)})
    write_text(
        out / "gallery.html", render("gallery.html", {"rows": rows, "networks": networks, "absent": absent, "size": SHOWN})
    )
    return out / "gallery.html"


def strips(seed: int = 5) -> Sequence[Strip]:
    """The rows of pictures."""
    pixels = draw_film(draw_person(seed, OPACITY), 0, SIDE)[0]
    film: Array = (pixels[..., None] / 255).astype(np.float32)
    chest, _ = draw_chest_slice(seed)
    eye, _ = draw_eye(seed)
    heads = [draw_head_slice(seed + k, tumour=k != 1)[0] for k in range(2)]
    return (
        Strip(
            "radiograph",
            "Enhanced radiographs",
            "S09 (unsharp mask, high-frequency emphasis, CLAHE)",
            (
                ("as taken", film),
                ("unsharp mask", UnsharpMask()(film)),
                ("high-frequency emphasis", HighEmphasis()(film)),
                ("histogram equalisation", Equalise()(film)),
                ("CLAHE", Clahe()(film)),
            ),
        ),
        Strip(
            "ct",
            "A CT slice before and after",
            "S14 (filters and lungs), S06 (lungs)",
            (
                ("as taken", chest),
                ("median filter", Smooth(size=5)(chest)),
                ("lungs, by watershed", LungMask()(chest)),
                ("cropped to the lungs", LungCrop()(chest)),
            ),
        ),
        Strip(
            "brain",
            "Brain slices, cropped by contours",
            "S30",
            (
                ("with a tumour", heads[0]),
                ("cropped", ContourCrop()(heads[0])),
                ("without", heads[1]),
                ("cropped", ContourCrop()(heads[1])),
            ),
        ),
        Strip(
            "eye",
            "An eye, lit evenly",
            "S19",
            (
                ("as taken", eye),
                ("scaled to its radius", scaled := EyeRadius(radius=120)(eye)),
                ("less its blur", flat := SubtractBlur()(scaled)),
                ("circular crop", CircularCrop()(flat)),
            ),
        ),
        *_signals(seed),
    )


def _signals(seed: int) -> tuple[Strip, ...]:
    """Those of what is no picture by itself."""
    return (
        Strip(
            "heartbeat",
            "Heartbeats as pictures of time and frequency",
            "S08 (Wigner-Ville distribution)",
            (
                ("normal", WignerVille()(_beat(seed, "N"), BEAT_RATE)),
                ("from elsewhere in the atria", WignerVille()(_beat(seed, "A"), BEAT_RATE)),
                ("ventricular", WignerVille()(_beat(seed, "V"), BEAT_RATE)),
                ("fusion of both", WignerVille()(_beat(seed, "F"), BEAT_RATE)),
                ("ventricular, smoothed", WignerVille("smoothed")(_beat(seed, "V"), BEAT_RATE)),
            ),
        ),
        Strip(
            "voice",
            "Voices as pictures",
            "S10 (spectrogram), S16 (wavelet statistics as a heat map)",
            tuple(
                (f"{who}, {what}", read.of(_voice(seed, read.rate, ill=ill)))
                for what, read in (("spectrogram", ReadSpectrogram()), ("heat map", ReadVoice()))
                for who, ill in (("even voice", False), ("uneven, breathy voice", True))
            ),
        ),
    )


def _voice(seed: int, rate: float, *, ill: bool) -> NDArray[np.float64]:
    """0.48 s of a phantom's vowel, with a root mean square of 1."""
    piece = draw_voice(seed, 1, ill=ill, rate=round(rate), seconds=0.48)
    level = float(np.sqrt(np.mean(piece**2)))
    return piece / level


def _beat(seed: int, kind: str) -> NDArray[np.float64]:
    """The second of three beats of a phantom, 83 samples around its peak."""
    signal, peaks = draw_ecg(Heart.draw(seed), ("N", kind, "N"), seed=seed)
    clean = at_rate(without_noise(signal[:, 0], 360, (0.5, 40)), 360, BEAT_RATE)
    middle = round(peaks[1] / 360 * BEAT_RATE)
    return clean[middle - 32 : middle + 51]


def told(net: Net) -> dict[str, Any]:
    """Stages of a network for a picture of SHOWN pixels: their maps (C, h, w), parameters, and a drawing."""
    network = build(net, 2, start=False).eval()
    stages = []
    x = network.normalise(torch.zeros(1, 3, SHOWN, SHOWN))
    with torch.inference_mode():
        for name, modules in network.backbone.stages().items():
            x = network.run_stages(x, name, last=name)
            count = sum(p.numel() for module in modules for p in module.parameters())
            stages.append({"name": name, "channels": x.shape[1], "height": x.shape[2], "width": x.shape[3], "parameters": count})
    return {"stages": stages, "parameters": _count(network), "drawing": drawing(stages)}


def drawing(stages: Sequence[Mapping[str, Any]]) -> Markup:
    """A slab a stage, as high as its maps (square root) and as deep as its channels (logarithm)."""
    wide, parts, x = 640, [], 8.0
    room = (wide - 16) / len(stages)
    for one in stages:
        height = 96 * (one["height"] / SHOWN) ** 0.5
        depth = min(room - 14, 4 + 4 * np.log2(one["channels"]))
        left, top = x + (room - depth) / 2, 100 - height
        parts.append(
            Markup('<rect class="slab" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2"/>').format(
                left, top, depth, height
            )
        )
        words = (one["name"], f"{one['channels']} × {one['height']} × {one['width']}")
        for k, text in enumerate(words):
            parts.append(
                Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(x + room / 2, 118 + 16 * k, text)
            )
        x += room
    said = "; ".join(f"{one['name']} {one['channels']} maps of {one['height']}" for one in stages)
    head = Markup('<svg class="chart wide" viewBox="0 0 {} 142" role="img" aria-label="Stages: {}">').format(wide, said)
    return head + Markup("").join(parts) + Markup("</svg>")


def _count(network: Network) -> int:
    return sum(p.numel() for p in network.backbone.parameters())  # type: ignore[attr-defined]


def _webp(picture: Array) -> bytes:
    """A picture as WebP, brought to SIDE pixels."""
    pixels = np.round(255 * np.clip(Resize(SIDE, keep="pad")(picture), 0, 1)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(out, "webp", quality=80, method=6)
    return out.getvalue()
