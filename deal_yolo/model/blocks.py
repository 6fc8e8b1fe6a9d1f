"""The blocks that DEAL-YOLO adds to YOLOv8: LDConv, SSFF, and a sum of maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from ultralytics.nn.modules import Conv, Detect
from ultralytics.utils.torch_utils import fuse_conv_and_bn


class LDConv(nn.Module):
    """Linear deformable convolution (arXiv 2311.11587): N points that move with the image.

    A 3x3 convolution predicts where to sample; the N samples of each output position are stacked
    along the height, and an (N x 1) convolution mixes them. Its cost grows linearly with N.

    Args:
        c1: input channels.
        c2: output channels.
        points: N, the number of sampled points.
        stride: px of the input map for each step of the output map.
    """

    def __init__(self, c1: int, c2: int, points: int = 3, stride: int = 1) -> None:
        super().__init__()
        if points < 1 or stride < 1:
            raise ValueError(f"LDConv needs positive points and stride, not {points} and {stride}")
        self.points = points
        self.stride = stride
        self.offset = nn.Conv2d(c1, 2 * points, 3, stride, 1)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)
        self.conv = nn.Conv2d(c1, c2, (points, 1), (points, 1), bias=False)
        self.bn = nn.BatchNorm2d(c2)
        self.act = nn.SiLU()
        self.register_buffer("start", start_points(points), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, ceil(h / stride), ceil(w / stride))``."""
        return self.act(self.bn(self.conv(self.sample(x))))

    def forward_fused(self, x: Tensor) -> Tensor:
        """As `forward`, with the batch norm folded into the convolution."""
        return self.act(self.conv(self.sample(x)))

    def sample(self, x: Tensor) -> Tensor:
        """The N samples of each output position: ``(b, c1, N * h_out, w_out)``.

        Coordinates are FP32 whatever the precision of the features: FP16 has no half pixels past
        1,024, bfloat16 none past 128.
        """
        with torch.autocast(x.device.type, enabled=False):
            # offset: channels are N row offsets, then N column offsets, in px of the input map.
            offset = F.conv2d(
                x.float(), self.offset.weight.float(), self.offset.bias.float(), self.stride, 1
            )
            b, _, rows, columns = offset.shape
            offset = offset.view(b, 2, self.points, rows, columns)
            row = torch.arange(rows, device=x.device, dtype=torch.float32) * self.stride
            column = torch.arange(columns, device=x.device, dtype=torch.float32) * self.stride
            start = self.start.float().view(2, self.points, 1, 1)
            y = offset[:, 0] + (start[0] + row.view(1, -1, 1))
            x_ = offset[:, 1] + (start[1] + column.view(1, 1, -1))
            # Samples outside the map take its border value, so the weights always sum to one.
            grid = torch.stack(
                [x_ * (2 / max(x.shape[3] - 1, 1)) - 1, y * (2 / max(x.shape[2] - 1, 1)) - 1], -1
            )
            # (b, N, rows, columns, 2) -> samples of one position below each other.
            grid = grid.transpose(1, 2).reshape(b, rows * self.points, columns, 2)
            sampled = F.grid_sample(x.float(), grid, "bilinear", "border", align_corners=True)
        return sampled.to(x.dtype)

    def fuse(self) -> None:
        """Fold the batch norm into the convolution, for inference."""
        self.conv = fuse_conv_and_bn(self.conv, self.bn)
        del self.bn
        self.forward = self.forward_fused


def start_points(points: int) -> Tensor:
    """``(2, N)`` row and column of the N sampling points before any offset.

    They fill rows of ``round(sqrt(N))`` points from the top left; the last row may be partial.
    """
    base = round(points**0.5)
    number = torch.arange(points)
    return torch.stack([number // base, number % base]).float()


class SSFF(nn.Module):
    """Scale-sequence feature fusion (ASF-YOLO, arXiv 2312.06458).

    The levels are brought to one width and, by nearest upsampling, to the size of the largest;
    a pointwise convolution, batch norm and LeakyReLU go over each, and the maximum over the
    levels is taken. The published form stacks the levels and uses Conv3d 1x1x1 and BatchNorm3d;
    laid along the batch, Conv2d and BatchNorm2d compute the same.

    Args:
        c1: channels of the levels, largest map first.
        c2: common width.
    """

    def __init__(self, c1: list[int], c2: int) -> None:
        super().__init__()
        keep_first = c1[0] == c2
        self.align = nn.ModuleList(
            nn.Identity() if i == 0 and keep_first else Conv(c, c2, 1) for i, c in enumerate(c1)
        )
        self.conv = nn.Conv2d(c2, c2, 1)
        self.bn = nn.BatchNorm2d(c2)
        self.act = nn.LeakyReLU(0.1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps ``(b, c1[i], h_i, w_i)``, largest first, to ``(b, c2, h_0, w_0)``."""
        size = levels[0].shape[2:]
        maps = [align(x) for align, x in zip(self.align, levels, strict=True)]
        if self.training:
            # Batch statistics must count each pixel as often as it is repeated.
            maps = [maps[0]] + [F.interpolate(m, size=size, mode="nearest") for m in maps[1:]]
            maps = list(self._pointwise(torch.cat(maps)).chunk(len(maps)))
        else:
            # Pointwise, so it commutes with nearest upsampling: cheaper at the maps' own sizes.
            maps = [self._pointwise(m) for m in maps]
            maps = [maps[0]] + [F.interpolate(m, size=size, mode="nearest") for m in maps[1:]]
        fused = maps[0]
        for other in maps[1:]:
            fused = torch.maximum(fused, other)
        return fused

    def _pointwise(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.act(self.bn(x) if hasattr(self, "bn") else x)

    def fuse(self) -> None:
        """Fold the batch norm into the convolution, for inference."""
        self.conv = fuse_conv_and_bn(self.conv, self.bn)
        del self.bn


class Sum(nn.Module):
    """Sum of maps of one shape."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps ``(b, c, h, w)`` to their sum of the same shape."""
        total = maps[0]
        for other in maps[1:]:
            total = total + other
        return total


class DetectV8(Detect):
    """YOLOv8's head: plain 3x3 convolutions in the class branch."""

    legacy = True


class DetectLite(Detect):
    """YOLOv8's head with YOLO11's depthwise class branch.

    The class branch is what has to run over the whole maps; the box branch, exported, waits for
    the anchors of best class score, so that it keeps its full convolutions.
    """

    legacy = False  # ultralytics' own parser changes the attribute of its class
