"""The figures of a model: parameters, operations, strides."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from deal_yolo.model.network import DealModel


@dataclass(frozen=True)
class Summary:
    """What ``deal-yolo info`` tells.

    Args:
        nc: number of classes.
        parameters: all of them.
        parameters_fused: with batch norm folded into the convolutions before it.
        gflops: of one image, in 10^9 operations; a multiplication and an addition are two.
        strides: px of the input for each step of the output maps.
    """

    nc: int
    parameters: int
    parameters_fused: int
    gflops: float
    strides: tuple[int, ...]


def summarise(model: DealModel, imgsz: int = 640) -> Summary:
    """The figures of ``model``, operations at ``imgsz`` px square; the model is not changed."""
    fused = copy.deepcopy(model).eval().fuse(verbose=False)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        fused(torch.zeros(1, 3, imgsz, imgsz))
    return Summary(
        nc=model.yaml["nc"],
        parameters=_count(model),
        parameters_fused=_count(fused),
        gflops=round(counter.get_total_flops() / 1e9, 3),
        strides=tuple(int(s) for s in model.stride),
    )


def _count(model: DealModel) -> int:
    return sum(p.numel() for p in model.parameters())
