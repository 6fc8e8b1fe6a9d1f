"""Exact rewrites of a trained model into the form that is exported.

Each takes a `DealModel` and changes it in place, without changing what it computes beyond the
rounding of FP32; `export_form` applies them all to a copy.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from ultralytics.nn.modules import C2f, Concat, Conv
from ultralytics.utils.torch_utils import fuse_conv_and_bn

from deal_yolo.export.head import ScoresFirst
from deal_yolo.export.sampling import GatheredLDConv
from deal_yolo.model.blocks import SSFF, LDConv
from deal_yolo.model.network import DealModel


def export_form(model: DealModel, max_detections: int, fixed_size: bool = False) -> DealModel:
    """A copy of ``model`` in eval mode whose output is ``(b, K, 4 + nc)``; see `ScoresFirst`.

    Args:
        model: left as it is.
        max_detections: K.
        fixed_size: when traced, the graph is for images of that one size.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    fold_batch_norm(model)
    fix_upsampling(model)
    split_halves(model)
    mix_before_upsampling(model)
    gather_samples(model, fixed_size)
    decode_best(model, max_detections, fixed_size)
    return model


def fold_batch_norm(model: DealModel) -> None:
    """Fold every batch norm into the convolution before it."""
    for layer in model.modules():
        if isinstance(layer, Conv):
            layer.conv = fuse_conv_and_bn(layer.conv, layer.bn)
            del layer.bn
            layer.forward = layer.forward_fuse
        elif isinstance(layer, LDConv | SSFF):
            layer.fuse()


class FixedSSFF(nn.Module):
    """`SSFF` whose upsampling factors are numbers of the graph, not computed from shapes.

    Args:
        ssff: the trained block, batch norm folded.
        factors: size of the largest map over that of each level.
    """

    def __init__(self, ssff: SSFF, factors: list[int]) -> None:
        super().__init__()
        self.align, self.conv, self.act = ssff.align, ssff.conv, ssff.act
        self.factors = factors

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps ``(b, c1[i], h_i, w_i)``, largest first, to ``(b, c2, h_0, w_0)``."""
        maps = [self.act(self.conv(align(x))) for align, x in zip(self.align, levels, strict=True)]
        # From the smallest map up, since the maximum commutes with nearest upsampling too.
        fused = maps[-1]
        for i in range(len(maps) - 2, -1, -1):
            factor = self.factors[i + 1] // self.factors[i]
            fused = torch.maximum(maps[i], F.interpolate(fused, scale_factor=factor))
        return fused


def fix_upsampling(model: DealModel) -> None:
    """Give every SSFF fixed upsampling factors; ``nn.Upsample`` has them already."""
    for i, layer in enumerate(model.model):
        if isinstance(layer, SSFF):
            sizes = _row_sizes(model)
            factors = [sizes[layer.f[0]] // sizes[row] for row in layer.f]
            _replace(model, i, FixedSSFF(layer, factors))


def _row_sizes(model: DealModel) -> list[int]:
    """Side of each row's output map for an input of 256 px."""
    sizes: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out: sizes.append(out.shape[-1]))
        for layer in list(model.model)[:-1]
    ]
    with torch.no_grad():
        model(torch.zeros(1, 3, 256, 256))
    for hook in hooks:
        hook.remove()
    return sizes


class SplitC2f(nn.Module):
    """`C2f` whose first convolution is two: the halves of its output need not be cut apart.

    A cut along the channels breaks the blocked layout in which ONNX Runtime keeps its maps on a
    CPU, so each cut costs two copies of the map.

    Args:
        block: the trained block, batch norms folded.
    """

    def __init__(self, block: C2f) -> None:
        super().__init__()
        self.halves = nn.ModuleList(
            conv_part(block.cv1.conv, slice(None), slice(start, start + block.c))
            for start in (0, block.c)
        )
        self.act, self.m, self.cv2 = block.cv1.act, block.m, block.cv2

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h, w)``."""
        return self.rest([self.act(half(x)) for half in self.halves])

    def rest(self, maps: list[Tensor]) -> Tensor:
        """What follows the first convolution, given its halves."""
        for bottleneck in self.m:
            maps.append(bottleneck(maps[-1]))
        return self.cv2(torch.cat(maps, 1))


def split_halves(model: DealModel) -> None:
    """Replace every `C2f` by `SplitC2f`."""
    for i, layer in enumerate(model.model):
        if isinstance(layer, C2f):
            _replace(model, i, SplitC2f(layer))


class LateUpsampling(nn.Module):
    """A `SplitC2f` on a map and an upsampled one, which mixes the small map before upsampling.

    A pointwise convolution commutes with nearest upsampling, and that of two maps laid together
    is the sum of two: this needs a quarter of the work for the small map, and no concatenation.

    Args:
        block: the block that reads the concatenation.
        large: channels of the large map, which come first.
        factor: size of the large map over that of the small one.
    """

    def __init__(self, block: SplitC2f, large: int, factor: int) -> None:
        super().__init__()
        self.block, self.factor = block, factor
        self.large = nn.ModuleList(
            conv_part(half, slice(0, large), slice(None)) for half in block.halves
        )
        self.small = nn.ModuleList(
            conv_part(half, slice(large, None), slice(None), bias=False) for half in block.halves
        )
        del block.halves

    def forward(self, maps: list[Tensor]) -> Tensor:
        """A large map ``(b, c, H, W)`` and a small one ``(b, c', h, w)`` to ``(b, c2, H, W)``."""
        large, small = maps
        return self.block.rest(
            [
                self.block.act(one(large) + F.interpolate(other(small), scale_factor=self.factor))
                for one, other in zip(self.large, self.small, strict=True)
            ]
        )


def mix_before_upsampling(model: DealModel) -> None:
    """Use `LateUpsampling` wherever a C2f reads a concatenation of a map and an upsampled one."""
    rows = list(model.model)
    for i, layer in enumerate(rows):
        if not isinstance(layer, SplitC2f) or not isinstance(rows[i - 1], Concat):
            continue
        large, small = (row % (i - 1) for row in rows[i - 1].f)
        if not isinstance(rows[small], nn.Upsample) or _readers(model, small, i - 1) != [i - 1]:
            continue
        source = (small + rows[small].f) % small if rows[small].f == -1 else rows[small].f
        channels = layer.halves[0].in_channels - _channels(rows[source])
        block = LateUpsampling(layer, channels, int(rows[small].scale_factor))
        _replace(model, i, block)
        block.f = [large, source]
        model.save = sorted({*model.save, large, source})
        for unused in (small, i - 1):
            _replace(model, unused, nn.Identity())
            model.model[unused].f = -1


def gather_samples(model: DealModel, fixed_size: bool = False) -> None:
    """Replace every `LDConv` by `GatheredLDConv`."""
    for i, layer in enumerate(model.model):
        if isinstance(layer, LDConv):
            _replace(model, i, GatheredLDConv(layer, fixed_size))


def decode_best(model: DealModel, max_detections: int, fixed_size: bool = False) -> None:
    """Replace the head by `ScoresFirst`."""
    last = len(model.model) - 1
    _replace(model, last, ScoresFirst(model.model[last], max_detections, fixed_size))


class ToHalf(nn.Module):
    """FP32 to FP16."""

    def forward(self, x: Tensor) -> Tensor:
        """A map of any shape to the same in FP16."""
        return x.half()


def halve(model: DealModel) -> None:
    """Compute the maps in FP16; the first row, coordinates, boxes and scores stay in FP32.

    To be applied after the rewrites. What runs at the best anchors only costs little, and FP16
    there would move boxes by up to a pixel. The first row is a small convolution too, and FP16
    would cost more there than in any other: hardly a pixel ``n / 255`` is an FP16 number, and
    the weights are large, so that small differences of bright pixels are left.
    """
    first, *rest = model.model
    for layer in nn.ModuleList(rest).modules():
        if isinstance(layer, nn.Conv2d):
            layer.half()
    _replace(model, 0, nn.Sequential(first, ToHalf()))
    for layer in model.modules():
        if isinstance(layer, GatheredLDConv):
            layer.offset.float()


def conv_part(conv: nn.Conv2d, inputs: slice, outputs: slice, bias: bool = True) -> nn.Conv2d:
    """The convolution from some input channels to some output channels of ``conv``."""
    weight = conv.weight[outputs, inputs]
    part = nn.Conv2d(
        weight.shape[1], weight.shape[0], conv.kernel_size, conv.stride, conv.padding, bias=bias
    )
    part.weight = nn.Parameter(weight.clone(), requires_grad=False)
    if bias:
        part.bias = nn.Parameter(conv.bias[outputs].clone(), requires_grad=False)
    return part


def _channels(layer: nn.Module) -> int:
    """Output channels of a Conv, LDConv or C2f row."""
    last = layer.cv2 if hasattr(layer, "cv2") else layer
    return int(last.conv.out_channels)


def _readers(model: DealModel, row: int, before: int) -> list[int]:
    """The rows that read the output of ``row``."""
    readers = []
    for i, layer in enumerate(model.model):
        sources = [layer.f] if isinstance(layer.f, int) else layer.f
        if any(i > row and (i + s if s < 0 else s) == row for s in sources):
            readers.append(i)
    return readers


def _replace(model: DealModel, row: int, new: nn.Module) -> None:
    """Put ``new`` in the place of a row."""
    old = model.model[row]
    new.i, new.f, new.type = old.i, old.f, type(new).__name__
    model.model[row] = new.eval()
