"""The head in the order of least work: class scores, the K best anchors, then their boxes alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from ultralytics.nn.modules import Detect

Size = tuple[Any, Any]
# Anchors of one level that are multiplied with its weights at once.
TILE = 128


def map_size(x: Tensor, fixed: bool) -> Size:
    """Height and width of ``(b, c, h, w)``: numbers, or while tracing values of the graph."""
    rows, columns = x.shape[2:]
    return (int(rows), int(columns)) if fixed else (rows, columns)


class Anchors(NamedTuple):
    """Where the anchors of some numbers are; each is ``(b, n)``.

    Args:
        level: number of the level, 0 the largest map.
        first: number of the first anchor of that level.
        rows: height of that level's map.
        columns: width of that level's map.
        row: row of the anchor.
        column: column of the anchor.
    """

    level: Tensor
    first: Tensor
    rows: Tensor
    columns: Tensor
    row: Tensor
    column: Tensor


class ScoresFirst(nn.Module):
    """YOLOv8's head, with the box branch after its first convolution at the K best anchors only.

    Of the box branch only the first convolution runs over the whole maps. Its activation, the
    second one (3x3) and the pointwise one follow at the anchors of best class score, on the 3x3
    neighbourhoods gathered there; so do the distribution over the bins and its mean. For this the
    anchors are laid into tiles of one level each, so that each meets its own level's weights only.

    Args:
        head: the trained head, batch norms folded; three convolutions in each box branch, the
            second 3x3 and the last pointwise, of the same widths in all levels, and between them
            an activation that leaves zero as it is.
        max_detections: K.
        fixed_size: the maps' sizes are numbers of the graph; else it reads them from the maps.
    """

    def __init__(self, head: Detect, max_detections: int, fixed_size: bool = False) -> None:
        super().__init__()
        self.fixed_size = fixed_size
        self.score = head.cv3
        self.first = nn.ModuleList(branch[0].conv for branch in head.cv2)
        self.bins, self.levels = head.reg_max, len(head.cv2)
        self.max_detections = max_detections
        second = [branch[1].conv for branch in head.cv2]
        third = [branch[2] for branch in head.cv2]
        self.act = head.cv2[0][1].act
        # A matrix for each level. Rows of a neighbourhood: its 9 places, each with all channels.
        self._keep("second", [c.weight.permute(2, 3, 1, 0).flatten(0, 2) for c in second])
        self._keep("second_bias", [c.bias[None] for c in second])
        self._keep("third", [c.weight[:, :, 0, 0].t() for c in third])
        self._keep("third_bias", [c.bias[None] for c in third])
        self.register_buffer("strides", head.stride.detach().clone().float())

    def _keep(self, name: str, parts: list[Tensor]) -> None:
        self.register_buffer(name, torch.stack(parts).detach().clone())

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps of each level to ``(b, K, 4 + nc)``, best class score first.

        Rows are left, top, right, bottom in px of the input, then class scores in [0, 1].
        K is the number of anchors where that is smaller.
        """
        scores = [score(x) for score, x in zip(self.score, maps, strict=True)]
        # Read from the scores, which leave ONNX Runtime's blocked layout anyway: asking a large
        # map for its size would have it copied out of that layout.
        sizes = [map_size(x, self.fixed_size) for x in scores]
        logits = torch.cat([x.flatten(2) for x in scores], dim=2).float()
        index = logits.amax(1).topk(self._count(sizes), dim=1).indices
        logits = logits.gather(2, index[:, None].expand(-1, logits.shape[1], -1))
        boxes = self._boxes(maps, sizes, index)
        return torch.cat([boxes, logits.sigmoid().transpose(1, 2)], dim=2)

    def _boxes(self, maps: list[Tensor], sizes: list[Size], index: Tensor) -> Tensor:
        """``(b, K, 4)`` corners in px of the input of the anchors ``index (b, K)``."""
        starts = _vector([sum(r * c for r, c in sizes[:i]) for i in range(self.levels)])
        slot, tile_level = self._tiles((index[..., None] >= starts[1:]).sum(2))
        slots = index.new_zeros(index.shape[0], tile_level.shape[1] * TILE)
        anchors = self._locate(sizes, starts, slots.scatter(1, slot, index))
        places = _neighbours(anchors, sum(rows * columns for rows, columns in sizes))
        distributions = self._distributions(self._patches(maps, places), tile_level)
        return self._decode(distributions, anchors).gather(1, slot[..., None].expand(-1, -1, 4))

    def _tiles(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """An order of the anchors in which each tile of them is of one level.

        Args:
            level: ``(b, K)`` of the anchors.

        Returns:
            The place ``(b, K)`` of each anchor, and the level ``(b, n)`` of each tile. A level's
            last tile may not be full.
        """
        own = torch.eye(self.levels)[level]
        count = _running_sum(own)
        tiles = (count[:, -1] / TILE).ceil()
        end = tiles @ torch.ones(self.levels, self.levels).triu()
        slot = (own * (count - 1 + ((end - tiles) * TILE)[:, None])).sum(2).long()
        most = (level.shape[1] + self.levels * (TILE - 1)) // TILE
        return slot, (torch.arange(most)[:, None] >= end[:, None, :-1]).sum(2)

    def _count(self, sizes: list[Size]) -> Any:
        anchors: Any = sum(rows * columns for rows, columns in sizes)
        if isinstance(anchors, Tensor):  # the smaller one is found in the graph
            return torch.minimum(anchors, torch.tensor(self.max_detections))
        return min(anchors, self.max_detections)

    def _locate(self, sizes: list[Size], starts: Tensor, index: Tensor) -> Anchors:
        rows, columns = (_vector(sides) for sides in zip(*sizes, strict=True))
        level = (index[..., None] >= starts[1:]).sum(2)
        first, width = starts[level], columns[level]
        inside = index - first
        row = torch.div(inside, width, rounding_mode="trunc")
        return Anchors(level, first, rows[level], width, row, inside - row * width)

    def _patches(self, maps: list[Tensor], places: Tensor) -> Tensor:
        """``(b * n, 9 * c)`` of what the second convolution reads at ``places (b, n, 9)``."""
        features = [first(x) for first, x in zip(self.first, maps, strict=True)]
        channels, batch = self.second.shape[1] // 9, places.shape[0]
        flat = [f.permute(0, 2, 3, 1).reshape(batch, -1, channels) for f in features]
        # One more row of zeros: what lies outside the map, as in the padding of a convolution.
        table = torch.cat([*flat, flat[0].new_zeros(1, 1, channels).expand(batch, -1, -1)], dim=1)
        start = torch.arange(batch).view(-1, 1, 1) * table.shape[1]
        rows = table.reshape(-1, channels).index_select(0, (places + start).reshape(-1))
        return self.act(rows.reshape(-1, 9 * channels).float())

    def _distributions(self, patches: Tensor, tile_level: Tensor) -> Tensor:
        """Logits of the distances to the four sides, ``4 * bins`` for each row of ``patches``."""
        level = tile_level.reshape(-1)
        tiles = patches.reshape(-1, TILE, patches.shape[1])
        hidden = self.act(tiles @ self.second[level] + self.second_bias[level])
        return hidden @ self.third[level] + self.third_bias[level]

    def _decode(self, distributions: Tensor, anchors: Anchors) -> Tensor:
        """``(b, n, 4)`` corners in px of the input.

        DFL (arXiv 2006.04388): a side's distance is the mean of its distribution over the bins;
        with a single bin it is the distance itself.
        """
        distance = distributions
        if self.bins > 1:
            shares = distributions.reshape(-1, self.bins).softmax(1)
            distance = shares @ torch.arange(self.bins, dtype=torch.float32)[:, None]
        distance = distance.reshape(*anchors.row.shape, 4)
        centre = torch.stack([anchors.column, anchors.row], dim=2).float() + 0.5
        low, high = centre - distance[..., :2], centre + distance[..., 2:]
        return torch.cat([low, high], dim=2) * self.strides[anchors.level][..., None]


def _running_sum(x: Tensor) -> Tensor:
    """``x.cumsum(1)`` of small whole numbers ``(b, n, c)``, by products with triangles of ones.

    CumSum itself is a loop over ``n`` in older versions of TensorRT.
    """
    rows = x.shape[1]
    blocks = F.pad(x, (0, 0, 0, -rows % TILE)).reshape(x.shape[0], -1, TILE, x.shape[2])
    inside = torch.ones(TILE, TILE).tril() @ blocks
    number = torch.arange(inside.shape[1])
    before = (number[:, None] > number).float() @ inside[:, :, -1]
    return (inside + before[:, :, None]).flatten(1, 2)[:, :rows]


def _vector(values: Sequence[Any]) -> Tensor:
    """``(n,)`` of numbers, or of values of the graph."""
    return torch.stack([torch.as_tensor(value) for value in values])


def _neighbours(anchors: Anchors, outside: Any) -> Tensor:
    """``(b, n, 9)`` numbers of the 3x3 anchors around each; ``outside`` where there is none."""
    step = torch.arange(-1, 2)
    row, column = anchors.row[..., None] + step, anchors.column[..., None] + step
    rows, columns = anchors.rows[..., None], anchors.columns[..., None]
    in_row, in_column = (row >= 0) & (row < rows), (column >= 0) & (column < columns)
    start = torch.where(in_row, anchors.first[..., None] + row * columns, outside)
    column = torch.where(in_column, column, outside)
    # A sum with ``outside``, the number of all anchors, is never less than it.
    places = (start[..., None] + column[..., None, :]).flatten(2)
    return torch.minimum(places, torch.as_tensor(outside))
