from pathlib import Path

import cv2
import numpy as np
import pytest

from deal_yolo.datasets.images import image_size, list_images, read_image, window_reader
from deal_yolo.errors import DatasetError
from tests.datasets.made import noise, write_photo


def turned(path: Path, orientation: int) -> Path:
    """A JPEG of 40 by 20 px as stored, with an EXIF orientation."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(40, 20)).save(path, exif=exif)
    return path


@pytest.mark.parametrize(("orientation", "size"), [(1, (40, 20)), (3, (40, 20)), (6, (20, 40))])
def test_size_and_pixels_are_upright(
    tmp_path: Path, orientation: int, size: tuple[int, int]
) -> None:
    path = turned(tmp_path / "a.jpg", orientation)
    assert image_size(path) == size
    assert read_image(path).shape == (size[1], size[0], 3)


def test_a_jpeg_cut_short_is_not_filled_with_grey(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.jpg", noise(400, 400))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DatasetError, match=r"a.jpg: the JPEG is cut short"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"not a photo", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_photo_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(DatasetError, match=r"cannot read .*a.png"):
            read(path)


def test_a_missing_photo_is_named(tmp_path: Path) -> None:
    for read in (read_image, image_size):
        with pytest.raises(DatasetError, match="cannot read .*none.jpg"):
            read(tmp_path / "none.jpg")


def test_photos_are_listed_by_suffix_whatever_its_case(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "a/1.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [p.name for p in list_images(tmp_path)] == ["1.png", "2.JPG"]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_window_holds_the_pixels_of_its_place(tmp_path: Path, suffix: str) -> None:
    image = noise(60, 50)
    with window_reader(write_photo(tmp_path / f"a{suffix}", image)) as reader:
        assert (reader.width, reader.height) == (60, 50)
        np.testing.assert_array_equal(reader.read(10, 5, 40, 25), image[5:25, 10:40])


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_a_geotiff_is_read_by_windows_and_its_no_data_is_black(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "a.tif"
    pixels = np.full((3, 64, 64), 200, np.uint8)
    pixels[:, :, 32:] = 255
    profile = {"driver": "GTiff", "width": 64, "height": 64, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", nodata=255, **profile) as file:
        file.write(pixels)
    assert image_size(path) == (64, 64)
    with window_reader(path) as reader:
        seen = reader.read(16, 0, 48, 8)
    assert (seen[:, :16] == 200).all() and (seen[:, 16:] == 0).all()


def test_a_geotiff_of_16_bits_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    cv2.imwrite(str(tmp_path / "a.tif"), np.zeros((8, 8), np.uint16))
    with (
        pytest.raises(DatasetError, match="uint16 pixels: make an 8-bit copy"),
        window_reader(tmp_path / "a.tif"),
    ):
        pass
