"""Plain convolutional networks, and recurrent networks that read a picture by rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from ..specs import Cnn, RowsRnn, blocks_of
from .layers import Chain, Convolution, he_start, sized, started


class Rows(nn.Module):
    """A recurrent layer over the rows of a map: (B, C, side, side) -> (B, hidden, side, 1), a state a row.

    The head sees the mean of the states; the last state alone would forget the top of the picture, and leave no map.
    """

    def __init__(self, cell: str, inputs: int, side: int, hidden: int) -> None:
        super().__init__()
        self.side = side
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.rnn = kind(inputs * side, hidden, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        rows = sized(x, self.side, self.side).permute(0, 2, 1, 3).flatten(2)  # (B, side, C * side)
        states = cast(Tensor, self.rnn(rows)[0])
        return states.transpose(1, 2)[..., None]  # (B, hidden, side, 1)


class Sized(nn.Module):
    """Brings pictures to `size` by `size` pixels."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return sized(x, self.size, self.size)


def build_backbone(spec: Cnn | RowsRnn, *, weights: str) -> Chain:
    """The backbone of `spec`, started from random weights or those of a file. Raises WeightsError."""
    if isinstance(spec, Cnn):
        stages = dict(zip(spec.stages, _blocks(spec), strict=True))
        backbone = Chain(stages, spec.channels[-1])
    else:
        backbone = Chain(_reading(spec), spec.hidden)
    he_start(backbone)
    return started(backbone, spec.frozen, weights)


def _blocks(spec: Cnn) -> list[nn.Module]:
    blocks, inputs = [], 3
    for outputs in spec.channels:
        block = nn.Sequential()
        for _ in range(spec.convolutions):
            block.extend(_layer(inputs, outputs, spec.kernel, spec.norm))
            inputs = outputs
        block.append(nn.MaxPool2d(2, ceil_mode=True))  # so that a map of 1 x 1 stays one
        blocks.append(block)
    return cast(list[nn.Module], blocks)


def _layer(inputs: int, outputs: int, kernel: int, norm: bool) -> Sequence[nn.Module]:
    convolution = Convolution(inputs, outputs, kernel, padding=kernel // 2, bias=not norm)
    return (convolution, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU(inplace=True))


def _reading(spec: RowsRnn) -> dict[str, nn.Module]:
    blocks = _blocks(Cnn(spec.channels)) if spec.channels else []
    side = spec.size
    for _ in blocks:
        side = (side + 1) // 2  # each max-pool halves the side and rounds up
    rows = Rows(spec.cell, spec.channels[-1] if spec.channels else 3, side, spec.hidden)
    first, *rest = [*blocks, rows]
    chain: list[nn.Module] = [nn.Sequential(Sized(spec.size), first), *rest]
    return dict(zip((*blocks_of(spec.channels), "rows"), chain, strict=True))
