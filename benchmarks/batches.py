"""Pictures a second by size of the batch: python -m benchmarks.batches > benchmarks/batches.md

ImageNet MobileNet-V2 has to lie in $RESDX_WEIGHTS. Every way is timed three times in turn, in one run; the table has the median
and the range.
"""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from resdx.inference.logits import predict_logits
from resdx.models import forward
from resdx.models.network import build
from resdx.models.specs import Net, Pretrained, ResNet

SIZE, PICTURES, TURNS = 224, 64, 3
BATCHES = (64, 32, 16, 8, 4)
NETS = {"ResNet-50": Net(ResNet(50)), "MobileNet-V2": Net(Pretrained("mobilenetv2_100", weights="imagenet"))}


def main() -> None:
    """Print the page."""
    images = np.random.default_rng(0).integers(0, 256, (PICTURES, SIZE, SIZE, 1), dtype=np.uint8)
    speed: dict[tuple[str, int], list[float]] = {}
    networks = {name: build(net, 2).eval() for name, net in NETS.items()}
    with pytest.MonkeyPatch.context() as patch:
        for _ in range(TURNS):
            for name, network in networks.items():
                for batch in BATCHES:
                    patch.setattr(forward, "AT_ONCE", batch * SIZE * SIZE)
                    started = time.perf_counter()
                    predict_logits(network, images)
                    speed.setdefault((name, batch), []).append(PICTURES / (time.perf_counter() - started))
    print(
        f"# Pictures a second by batch\n\n{SIZE} px, float32, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"median and range of {TURNS} turns."
    )
    print("Made by `python -m benchmarks.batches`.\n")
    print("| batch | " + " | ".join(NETS) + " |\n" + "|---" * (len(NETS) + 1) + "|")
    for batch in BATCHES:
        cells = [f"{np.median(found):.0f} ({min(found):.0f}-{max(found):.0f})" for found in (speed[name, batch] for name in NETS)]
        print(f"| {batch} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
