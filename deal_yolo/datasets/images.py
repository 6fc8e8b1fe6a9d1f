"""Photos of a data set on disk: sizes from the header, pixels upright, large ones by windows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from deal_yolo.errors import DatasetError, MissingExtraError, require

Image = npt.NDArray[np.uint8]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
TIFF = frozenset({".tif", ".tiff"})
ORIENTATION = 0x0112
CACHE_MB = 128


def list_images(folder: Path) -> list[Path]:
    """All photos in ``folder`` and below, sorted by path."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in px of a photo as it is seen upright, read from its header alone.

    Raises:
        DatasetError: the file is not a photo.
        MissingExtraError: Pillow is not installed.
    """
    size, turn = image_header(path)
    return (size[1], size[0]) if turn >= 5 else size


def image_header(path: Path) -> tuple[tuple[int, int], int]:
    """Stored width and height in px of a photo, and its EXIF orientation (1 is upright).

    Raises:
        DatasetError: the file is not a photo.
        MissingExtraError: Pillow is not installed.
    """
    if path.suffix.lower() in TIFF and (raster := _rasterio()) is not None:
        with _opened(raster, path) as file:
            return (file.width, file.height), 1
    pil = require("PIL.Image", "data")
    try:
        with warnings.catch_warnings():
            # Photos of 100 megapixels are ordinary here, not an attack; only the header is read.
            warnings.simplefilter("ignore", pil.DecompressionBombWarning)
            with pil.open(path) as image:
                turn = image.getexif().get(ORIENTATION, 1)
                return image.size, turn if isinstance(turn, int) and 1 <= turn <= 8 else 1
    except ImportError as error:
        # Where ultralytics is loaded, Pillow first looks for a HEIF plugin.
        raise DatasetError(f"cannot read {path}: not a photo") from error
    except (OSError, SyntaxError, ValueError, pil.DecompressionBombError) as error:
        raise DatasetError(f"cannot read {path}: {error}") from error


def read_image(path: Path) -> Image:
    """``(h, w, 3)`` pixels of a photo, blue-green-red, turned upright by its EXIF orientation.

    Raises:
        DatasetError: the file cannot be read, is cut short, or is not a photo.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error}") from error
    # OpenCV fills the missing part of a JPEG with grey and says nothing.
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[len(data) // 2 :]:
        raise DatasetError(f"cannot read {path}: the JPEG is cut short")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise DatasetError(f"cannot read {path}: {str(error).strip()}") from error
    if image is None:
        raise DatasetError(f"cannot read {path}: not a photo")
    return np.asarray(image, np.uint8)


class WindowReader(Protocol):
    """A photo of which windows can be read; ``width`` and ``height`` in px, upright."""

    width: int
    height: int

    def read(self, x1: int, y1: int, x2: int, y2: int) -> Image:
        """``(y2 - y1, x2 - x1, 3)`` pixels; the window must stand inside the photo."""


class _WholeReader:
    def __init__(self, path: Path) -> None:
        self._image = read_image(path)
        self.height, self.width = self._image.shape[:2]

    def read(self, x1: int, y1: int, x2: int, y2: int) -> Image:
        return self._image[y1:y2, x1:x2]


class _RasterReader:
    """Reads a GeoTIFF a window at a time; pixels without data are black."""

    def __init__(self, raster: Any, file: Any, path: Path) -> None:
        if any(kind != "uint8" for kind in file.dtypes[:3]):
            raise DatasetError(f"{path} has {file.dtypes[0]} pixels: make an 8-bit copy first")
        self._raster, self._file, self._path = raster, file, path
        self.width, self.height = file.width, file.height

    def read(self, x1: int, y1: int, x2: int, y2: int) -> Image:
        window = self._raster.windows.Window(x1, y1, x2 - x1, y2 - y1)
        bands = [3, 2, 1] if self._file.count >= 3 else [1, 1, 1]
        try:
            image = np.moveaxis(self._file.read(bands, window=window), 0, -1)
            image[self._file.dataset_mask(window=window) == 0] = 0
        except self._raster.errors.RasterioError as error:
            raise DatasetError(f"cannot read {self._path}: {error}") from error
        return np.ascontiguousarray(image)


@contextmanager
def window_reader(path: Path) -> Iterator[WindowReader]:
    """Open a photo for reading windows; TIFF files a window at a time where rasterio is installed.

    Raises:
        DatasetError: the file cannot be read.
    """
    if path.suffix.lower() in TIFF and (raster := _rasterio()) is not None:
        with _opened(raster, path) as file:
            yield _RasterReader(raster, file, path)
    else:
        yield _WholeReader(path)


def _rasterio() -> Any:
    try:
        return require("rasterio", "data")
    except MissingExtraError:
        return None


@contextmanager
def _opened(raster: Any, path: Path) -> Iterator[Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", raster.errors.NotGeoreferencedWarning)
            file = raster.open(path)
    except raster.errors.RasterioError as error:
        raise DatasetError(f"cannot read {path}: {error}") from error
    # Else GDAL keeps a twentieth of the machine's memory full of blocks already used.
    with raster.Env(GDAL_CACHEMAX=CACHE_MB), file:
        yield file
