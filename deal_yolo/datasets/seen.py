"""Look once at every photo of a data set: can it be read, how does it stand, what does it show."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deal_yolo.datasets.images import TIFF, image_header, window_reader
from deal_yolo.errors import DatasetError, require

# A JPEG is decoded at an eighth of its size where that leaves at least this many px.
LOOK = 256
THUMB = 32
Progress = Callable[[int, int], None]
Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Seen:
    """What one look at a photo gave.

    Args:
        size: width and height in px, upright; (0, 0) if unreadable.
        orientation: EXIF orientation, 1 is upright.
        hash: 64-bit perceptual hash.
        thumb: ``(32, 32)`` grey picture.
        fault: why it cannot be read; empty if it can.
    """

    size: tuple[int, int]
    orientation: int
    hash: int
    thumb: Array
    fault: str = ""


def look_at_all(images: Sequence[Path], progress: Progress | None = None) -> list[Seen]:
    """Look at every photo, on all cores; see `look`.

    Raises:
        MissingExtraError: imagehash is not installed.
    """
    require("imagehash", "data")
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        seen = []
        for one in pool.map(look, images):
            seen.append(one)
            if progress:
                progress(len(seen), len(images))
        return seen


def look(path: Path) -> Seen:
    """Read a photo to its end, small where the format allows, and keep its hash and thumbnail."""
    imagehash, pil = require("imagehash", "data"), require("PIL.Image", "data")
    try:
        if not path.stat().st_size:
            raise DatasetError("the file is empty")
        (width, height), orientation = image_header(path)
        grey = _grey(path, pil)
    except (OSError, SyntaxError, ValueError, DatasetError) as error:
        why = str(error).replace(f"cannot read {path}: ", "") or type(error).__name__
        return Seen((0, 0), 1, 0, np.zeros((THUMB, THUMB), np.uint8), why)
    bits = imagehash.phash(grey).hash.ravel()
    number = int.from_bytes(np.packbits(bits).tobytes(), "big")
    thumb = np.asarray(grey.resize((THUMB, THUMB), pil.Resampling.BOX), np.uint8)
    size = (height, width) if orientation >= 5 else (width, height)
    return Seen(size, orientation, number, thumb)


def _grey(path: Path, pil: Any) -> Any:
    if path.suffix.lower() in TIFF:
        with window_reader(path) as reader:
            step = max(1, max(reader.width, reader.height) // 2048)
            # A band of rows at a time, so that a very large GeoTIFF is never whole in memory.
            rows = [
                reader.read(0, y, reader.width, min(y + 64 * step, reader.height))[::step, ::step]
                for y in range(0, reader.height, 64 * step)
            ]
        return pil.fromarray(np.concatenate(rows)[..., ::-1]).convert("L")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pil.DecompressionBombWarning)
        image = pil.open(path)
    with image:
        # Reads and checks all of a JPEG, but computes only a small picture of it.
        image.draft("L", (LOOK, LOOK))
        return image.convert("L")
