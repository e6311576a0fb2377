"""What timm needs of torchvision where torchvision's compiled part does not load (PyPI's build beside the CPU build of torch).

There, `import torchvision` stops at "operator torchvision::nms does not exist", although nothing here uses that operator;
declaring its schema, without any implementation, is enough for the import.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

SCHEMAS = ("nms", "qnms")  # each `(Tensor dets, Tensor scores, float iou_threshold) -> Tensor`

_declared: list[torch.library.Library] = []  # a library's schemas live as long as the object


def declare_torchvision_operators() -> None:
    """Declare the missing schemas once; nothing happens where torchvision is absent or whole."""
    found = importlib.util.find_spec("torchvision")
    if _declared or found is None or found.origin is None:
        return
    compiled = next((path for path in Path(found.origin).parent.glob("_C*") if path.suffix in (".so", ".pyd", ".dylib")), None)
    if compiled is not None and _loads(compiled):
        return
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in SCHEMAS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    _declared.append(library)


def _loads(compiled: Path) -> bool:
    try:
        torch.ops.load_library(str(compiled))  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return True
