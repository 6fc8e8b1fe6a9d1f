"""What is in a data set: counts, sizes, places, and what follows from them for training."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deal_yolo.config import check_range
from deal_yolo.datasets.dataset import Dataset, TileConfig
from deal_yolo.datasets.images import image_size
from deal_yolo.datasets.labels import Labels
from deal_yolo.errors import DatasetError

SMALL = (8, 16, 32)
# An object should be seen at this many px: at stride 4 that is four cells of the finest map.
WANTED = 16.0
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of some splits, without ignored ones.

    Args:
        names: class names.
        splits: splits in order.
        photo_split: ``(p,)`` number of each photo's split.
        photo_size: ``(p, 2)`` width and height of each photo, px.
        photo: ``(n,)`` number of each object's photo.
        class_id: ``(n,)`` class numbers.
        xyxy: ``(n, 4)`` boxes in px of the photo.
    """

    names: tuple[str, ...]
    splits: tuple[str, ...]
    photo_split: npt.NDArray[np.intp]
    photo_size: Floats
    photo: npt.NDArray[np.intp]
    class_id: npt.NDArray[np.int32]
    xyxy: Floats

    @property
    def side(self) -> Floats:
        """``(n,)`` square root of each box's area, px of the photo."""
        size = np.clip(self.xyxy[:, 2:] - self.xyxy[:, :2], 0, None)
        return np.asarray(np.sqrt(size[:, 0] * size[:, 1]))

    @property
    def density(self) -> npt.NDArray[np.intp]:
        """``(p,)`` objects of each photo."""
        return np.bincount(self.photo, minlength=len(self.photo_size))


@dataclass(frozen=True)
class Stats:
    """Figures of some splits; sizes are square roots of box areas.

    Args:
        photos: number in each split.
        empty: photos without an object, in each split.
        objects: number of each class, in each split.
        photo_sizes: the most frequent widths and heights in px, with their number.
        density: least, median, mean and greatest number of objects a photo.
        size_px: 5, 10, 25, 50, 75, 90, 95 per cent of the objects are smaller, px of the photo.
        imgsz: side in px at which photos are seen whole, for the next two.
        under: share of objects under 8, 16 and 32 px when seen so.
        mean_size_px: mean object size when seen so; NWD's C for training on whole photos.
        tile: windows in which most objects are seen large enough; None if whole photos do.
        tile_mean_size_px: mean object size in such windows; NWD's C for training on them.
        advice: the same in words.
    """

    photos: Mapping[str, int]
    empty: Mapping[str, int]
    objects: Mapping[str, Mapping[str, int]]
    photo_sizes: tuple[tuple[int, int, int], ...]
    density: Mapping[str, float]
    size_px: Mapping[int, float]
    imgsz: int
    under: Mapping[int, float]
    mean_size_px: float
    tile: TileConfig | None
    tile_mean_size_px: float | None
    advice: tuple[str, ...]


def collect(dataset: Dataset, splits: Sequence[str] | None = None) -> Objects:
    """Read all labels of ``splits``, by default all that the YAML names.

    Raises:
        DatasetError: a photo or label file cannot be read, or there is no object at all.
    """
    chosen = tuple(splits or dataset.splits)
    images = [(i, image) for i, split in enumerate(chosen) for image in dataset.images(split)]

    def read(image: Path) -> tuple[tuple[int, int], Labels]:
        return image_size(image), dataset.labels(image)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = list(pool.map(read, [image for _, image in images]))
    parts = [labels.select(~labels.ignore) for _, labels in found]
    if not sum(map(len, parts)):
        raise DatasetError(f"{dataset.yaml} has no objects in {', '.join(chosen)}")
    return Objects(
        names=dataset.names,
        splits=chosen,
        photo_split=np.array([i for i, _ in images], np.intp),
        photo_size=np.array([size for size, _ in found], np.float64),
        photo=np.repeat(np.arange(len(parts)), [len(p) for p in parts]),
        class_id=np.concatenate([p.class_id for p in parts]),
        xyxy=np.concatenate([p.xyxy for p in parts]).astype(np.float64),
    )


def describe(objects: Objects, imgsz: int = 640) -> Stats:
    """The figures; ``imgsz`` is the side in px at which a photo would be seen whole.

    Raises:
        ConfigError: ``imgsz`` is not sensible.
    """
    check_range("imgsz", imgsz, 32, 20_000)
    side = objects.side
    seen = side * _whole_scale(objects, imgsz)[objects.photo]
    split = objects.photo_split[objects.photo]
    sizes = Counter((int(w), int(h)) for w, h in objects.photo_size)
    density = objects.density
    tile = recommend_tile(objects, imgsz)
    tile_mean = None if tile is None else float(side.mean() * np.mean(tile.scales))
    return Stats(
        photos={s: int((objects.photo_split == i).sum()) for i, s in enumerate(objects.splits)},
        empty={
            s: int(((objects.photo_split == i) & (density == 0)).sum())
            for i, s in enumerate(objects.splits)
        },
        objects={
            s: {
                name: int(((split == i) & (objects.class_id == number)).sum())
                for number, name in enumerate(objects.names)
            }
            for i, s in enumerate(objects.splits)
        },
        photo_sizes=tuple((w, h, count) for (w, h), count in sizes.most_common(5)),
        density={
            "least": float(density.min()),
            "median": float(np.median(density)),
            "mean": float(density.mean()),
            "greatest": float(density.max()),
        },
        size_px={p: float(np.percentile(side, p)) for p in (5, 10, 25, 50, 75, 90, 95)},
        imgsz=imgsz,
        under={limit: float((seen < limit).mean()) for limit in SMALL},
        mean_size_px=float(seen.mean()),
        tile=tile,
        tile_mean_size_px=tile_mean,
        advice=tuple(_advice(objects, imgsz, float(seen.mean()), tile, tile_mean)),
    )


def recommend_tile(objects: Objects, imgsz: int) -> TileConfig | None:
    """Windows of ``imgsz`` px in which nine of ten objects measure at least 16 px.

    The scale is the smallest of 1, 1/2, 1/4 ... that still shows them so (fewer windows), and
    the next larger where there is one (animals seen from two heights). None if the photos seen
    whole at ``imgsz`` do.
    """
    tenth = float(np.percentile(objects.side, 10))
    if tenth <= 0:
        return TileConfig(size=imgsz, scales=(1.0,))
    if tenth * float(np.median(_whole_scale(objects, imgsz))) >= WANTED:
        return None
    scale = 1.0
    while scale > 1 / 16 and tenth * scale / 2 >= WANTED:
        scale /= 2
    return TileConfig(size=imgsz, scales=(1.0,) if scale == 1 else (2 * scale, scale))


def _whole_scale(objects: Objects, imgsz: int) -> Floats:
    """``(p,)`` px seen for each px of a photo that is shrunk to ``imgsz`` as a whole."""
    return np.asarray(imgsz / objects.photo_size.max(axis=1))


def _advice(
    objects: Objects, imgsz: int, mean: float, tile: TileConfig | None, tile_mean: float | None
) -> list[str]:
    median = float(np.median(objects.side))
    long_side = float(np.median(objects.photo_size.max(axis=1)))
    words = [
        f"Half of the objects are under {median:.0f} px in photos of {long_side:.0f} px; seen "
        f"whole at {imgsz} px they are under {median * imgsz / long_side:.1f} px."
    ]
    if tile is None or tile_mean is None:
        words.append(f"Train on whole photos at imgsz {imgsz}, with NWD's C = {mean:.1f} px.")
        return words
    scales = " and ".join(f"{s:g}" for s in tile.scales)
    words.append(
        f"Train on windows of {imgsz} px cut at scale {scales} (deal-yolo data tile --size {imgsz} "
        f"--scales {','.join(f'{s:g}' for s in tile.scales)}), imgsz {imgsz}, with NWD's "
        f"C = {tile_mean:.1f} px."
    )
    needed = WANTED / float(np.percentile(objects.side, 10) or 1) * long_side
    words.append(
        f"To see nine of ten objects at {WANTED:.0f} px in whole photos, imgsz would have to be "
        f"{-(-needed // 32) * 32:.0f} px."
    )
    return words
