"""The head in the order of least work: class scores, the K best anchors, then their boxes alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from ultralytics.nn.modules import Detect

Size = tuple[Any, Any]


def map_size(x: Tensor, fixed: bool) -> Size:
    """Height and width of ``(b, c, h, w)``: numbers, or while tracing values of the graph."""
    rows, columns = x.shape[2:]
    return (int(rows), int(columns)) if fixed else (rows, columns)


class Anchors(NamedTuple):
    """Where the anchors of some numbers are; each is ``(b, K)``.

    Args:
        level: number of the level, 0 the largest map.
        first: number of the first anchor of that level.
        rows: height of that level's map.
        columns: width of that level's map.
        row: row of the anchor.
        column: column of the anchor.
        stride: px of the input for each step of that map, FP32.
    """

    level: Tensor
    first: Tensor
    rows: Tensor
    columns: Tensor
    row: Tensor
    column: Tensor
    stride: Tensor


class ScoresFirst(nn.Module):
    """YOLOv8's head, with the box branch after its first convolution at the K best anchors only.

    Of the box branch only the first 3x3 convolution runs over the whole maps. The second one and
    the pointwise one follow at the anchors of best class score, on the 3x3 neighbourhoods gathered
    there; so do the distribution over the bins and its mean.

    Args:
        head: the trained head, batch norms folded, three convolutions in each branch.
        max_detections: K.
        fixed_size: the maps' sizes are numbers of the graph; else it reads them from the maps.
    """

    def __init__(self, head: Detect, max_detections: int, fixed_size: bool = False) -> None:
        super().__init__()
        self.fixed_size = fixed_size
        self.score = head.cv3
        self.first = nn.ModuleList(branch[0] for branch in head.cv2)
        self.bins = head.reg_max
        self.strides = [float(s) for s in head.stride]
        self.max_detections = max_detections
        # Rows of a neighbourhood: its 9 places, each with all channels. All levels side by side.
        second = [branch[1].conv for branch in head.cv2]
        third = [branch[2] for branch in head.cv2]
        self.act = head.cv2[0][1].act
        self._keep("second", [c.weight.permute(2, 3, 1, 0).flatten(0, 2) for c in second])
        self._keep("second_bias", [c.bias for c in second])
        self._keep("third", [c.weight[:, :, 0, 0].t() for c in third])
        self._keep("third_bias", [c.bias for c in third])

    def _keep(self, name: str, parts: list[Tensor]) -> None:
        self.register_buffer(name, torch.cat(parts, dim=-1).detach().clone())

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps of each level to ``(b, K, 4 + nc)``, best class score first.

        Rows are left, top, right, bottom in px of the input, then class scores in [0, 1].
        K is the number of anchors where that is smaller.
        """
        scores = [score(x).flatten(2) for score, x in zip(self.score, maps, strict=True)]
        logits = torch.cat(scores, dim=2).float()
        sizes = [map_size(x, self.fixed_size) for x in maps]
        index = logits.amax(1).topk(self._count(sizes), dim=1).indices
        logits = logits.gather(2, index[:, None].expand(-1, logits.shape[1], -1))
        anchors = self._locate(sizes, index)
        boxes = self._decode(self._distributions(maps, sizes, anchors), anchors)
        return torch.cat([boxes, logits.sigmoid().transpose(1, 2)], dim=2)

    def _count(self, sizes: list[Size]) -> Any:
        anchors: Any = sum(rows * columns for rows, columns in sizes)
        if isinstance(anchors, Tensor):  # the smaller one is found in the graph
            return torch.minimum(anchors, torch.tensor(self.max_detections))
        return min(anchors, self.max_detections)

    def _locate(self, sizes: list[Size], index: Tensor) -> Anchors:
        level = torch.zeros_like(index)
        first = torch.zeros_like(index)
        rows, columns = (torch.zeros_like(index) + side for side in sizes[0])
        stride = torch.full_like(index, self.strides[0], dtype=torch.float32)
        start = 0
        for i in range(1, len(sizes)):
            start = start + sizes[i - 1][0] * sizes[i - 1][1]
            here = index >= start
            level = level.masked_fill(here, i)
            first = torch.where(here, start, first)
            rows = torch.where(here, sizes[i][0], rows)
            columns = torch.where(here, sizes[i][1], columns)
            stride = stride.masked_fill(here, self.strides[i])
        inside = index - first
        row = torch.div(inside, columns, rounding_mode="trunc")
        return Anchors(level, first, rows, columns, row, inside - row * columns, stride)

    def _distributions(self, maps: list[Tensor], sizes: list[Size], anchors: Anchors) -> Tensor:
        """``(b, K, 4 * bins)`` logits of the distances to the four sides."""
        features = [first(x) for first, x in zip(self.first, maps, strict=True)]
        flat = [f.permute(0, 2, 3, 1).flatten(1, 2) for f in features]
        # One more row of zeros: what lies outside the map, as in the padding of a convolution.
        outside = flat[0].new_zeros(flat[0].shape[0], 1, flat[0].shape[2])
        table = torch.cat([*flat, outside], dim=1)
        total = sum(rows * columns for rows, columns in sizes)
        patches = _rows(table, _neighbours(anchors, total), total + 1)
        hidden = self._of_level(patches.flatten(2).float(), self.second, self.second_bias, anchors)
        return self._of_level(self.act(hidden), self.third, self.third_bias, anchors)

    def _of_level(self, x: Tensor, weight: Tensor, bias: Tensor, anchors: Anchors) -> Tensor:
        """``(b, K, c)`` times each level's matrix; of the results that of the anchor's level."""
        results = (x @ weight + bias).chunk(len(self.strides), dim=2)
        chosen = results[0]
        for i in range(1, len(results)):
            chosen = torch.where(anchors.level[..., None] == i, results[i], chosen)
        return chosen

    def _decode(self, distributions: Tensor, anchors: Anchors) -> Tensor:
        """``(b, K, 4)`` corners in px of the input.

        DFL (arXiv 2006.04388): a side's distance is the mean of its distribution over the bins.
        """
        shares = distributions.unflatten(2, (4, self.bins)).softmax(3)
        distance = (shares * torch.arange(self.bins, dtype=torch.float32)).sum(3)
        centre = torch.stack([anchors.column, anchors.row], dim=2).float() + 0.5
        low, high = centre - distance[..., :2], centre + distance[..., 2:]
        return torch.cat([low, high], dim=2) * anchors.stride[..., None]


def _neighbours(anchors: Anchors, outside: Any) -> Tensor:
    """``(b, K, 9)`` numbers of the 3x3 anchors around each; ``outside`` where there is none."""
    step = torch.arange(-1, 2)
    row = anchors.row[..., None] + step.repeat_interleave(3)
    column = anchors.column[..., None] + step.repeat(3)
    rows, columns = anchors.rows[..., None], anchors.columns[..., None]
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    return torch.where(inside, anchors.first[..., None] + row * columns + column, outside)


def _rows(table: Tensor, index: Tensor, length: Any) -> Tensor:
    """Rows of ``(b, length, c)`` at ``index (b, K, 9)``: ``(b, K, 9, c)``."""
    start = torch.arange(table.shape[0]).view(-1, 1, 1) * length
    return table.reshape(-1, table.shape[2])[index + start]
