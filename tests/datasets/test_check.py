import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from deal_yolo.datasets.check import KINDS, check_dataset
from deal_yolo.datasets.dataset import Dataset
from deal_yolo.datasets.leaks import near_duplicates, source_of, source_pattern
from deal_yolo.datasets.seen import look
from deal_yolo.datasets.tile import TileConfig, tile_dataset
from deal_yolo.datasets.worst import write_sheet
from deal_yolo.errors import ConfigError
from tests.datasets.made import Box, make, noise, write_photo

BOXES: list[Box] = [(0, 10, 10, 40, 40), (1, 60, 20, 90, 60)]


@pytest.fixture
def herd(tmp_path: Path) -> Dataset:
    return make(tmp_path / "herd", {"train": {"a": BOXES, "b": BOXES}, "val": {"c": BOXES}})


def kinds(dataset: Dataset) -> list[str]:
    return [p.kind for p in check_dataset(dataset).problems]


def test_a_clean_data_set(herd: Dataset) -> None:
    report = check_dataset(herd)
    assert (report.images, report.errors, report.warnings) == (3, 0, 0)


@pytest.mark.parametrize(
    ("lines", "kind", "detail"),
    [
        ("0 0.5 0.5\n", "label-malformed", "line 1: 3 values"),
        ("0 .5 .5 .1 .1\n\nx\n", "label-malformed", "line 3: 1 values"),
        ("5 0.5 0.5 0.1 0.1\n", "class-unknown", "line 1: class 5 of 2"),
        ("0 1.0 0.5 0.2 0.1\n", "box-outside", "line 1: 180,45 to 220,55 px of 200 x 100"),
        ("0 0.5 0.5 0.0 0.1\n", "box-empty", "line 1"),
        ("0 0.5 0.5 0.9 0.9\n", "box-huge", "line 1"),
        ("0 .5 .5 .2 .2\n0 .5 .5 .2 .21\n", "box-duplicate", "lines 1 and 2"),
    ],
)
def test_a_faulty_label_is_named(herd: Dataset, lines: str, kind: str, detail: str) -> None:
    label = herd.root / "labels/train/a.txt"
    label.write_text(lines)
    (problem,) = (p for p in check_dataset(herd).problems if p.kind != "class-absent")
    assert (problem.kind, problem.split, problem.file) == (kind, "train", "labels/train/a.txt")
    assert problem.detail.startswith(detail)
    assert problem.level == KINDS[kind][0]


def test_boxes_of_different_classes_in_one_place_are_no_duplicates(herd: Dataset) -> None:
    (herd.root / "labels/train/a.txt").write_text("0 .5 .5 .2 .2\n1 .5 .5 .2 .2\n")
    assert not kinds(herd)


def test_a_box_at_the_border_is_well(herd: Dataset) -> None:
    (herd.root / "labels/train/a.txt").write_text("0 0.1 0.5 0.2000001 0.2\n1 .5 .5 .1 .1\n")
    assert not kinds(herd)


@pytest.mark.parametrize("content", [b"", b"no photo"])
def test_an_unreadable_photo(herd: Dataset, content: bytes) -> None:
    (herd.root / "images/val/c.png").write_bytes(content)
    assert kinds(herd) == ["image-unreadable"]


def test_a_jpeg_that_is_cut_short(herd: Dataset) -> None:
    path = write_photo(herd.root / "images/val/d.jpg", noise(400, 300, 9))
    shutil.copy(herd.root / "labels/val/c.txt", herd.root / "labels/val/d.txt")
    path.write_bytes(path.read_bytes()[:-1000])
    (problem,) = check_dataset(herd).problems
    assert (problem.kind, problem.file) == ("image-unreadable", "images/val/d.jpg")


def test_a_photo_that_exif_turns(herd: Dataset) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(200, 100, 5)).save(herd.root / "images/val/d.jpg", exif=exif)
    (herd.root / "labels/val/d.txt").write_text("0 .5 .5 .1 .1\n")
    assert kinds(herd) == ["image-rotated"]


def test_labels_and_photos_that_lack_each_other(herd: Dataset) -> None:
    (herd.root / "labels/train/b.txt").unlink()
    (herd.root / "labels/train/stray.txt").write_text("")
    report = check_dataset(herd)
    assert [(p.kind, p.file) for p in report.problems] == [
        ("image-without-label", "images/train/b.png"),
        ("label-without-image", "labels/train/stray.txt"),
    ]
    assert report.errors == 0


def test_a_class_without_objects_in_a_split(herd: Dataset) -> None:
    (herd.root / "labels/val/c.txt").write_text("0 .5 .5 .1 .1\n")
    (problem,) = check_dataset(herd).problems
    assert (problem.kind, problem.split, problem.detail) == ("class-absent", "val", "class 1 calf")


def test_a_split_that_is_missing(herd: Dataset) -> None:
    shutil.rmtree(herd.root / "images/val")
    report = check_dataset(herd)
    assert "split-missing" in {p.kind for p in report.problems}


def test_a_photo_in_two_splits(herd: Dataset) -> None:
    (herd.root / "data.yaml").write_text("train: images/train\nval: images\nnames: [cow, calf]\n")
    from deal_yolo.datasets.dataset import load_dataset

    assert kinds(load_dataset(herd.root / "data.yaml")).count("leak-file") == 2


def reworked(image: np.ndarray) -> np.ndarray:
    """The same photo made smaller, brighter and stored again."""
    small = cv2.resize(image, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    brighter = cv2.convertScaleAbs(small, alpha=0.9, beta=12)
    return cv2.imdecode(cv2.imencode(".jpg", brighter, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], 1)


@pytest.mark.parametrize(
    ("split", "kind"), [("train", "near-duplicate"), ("val", "leak-duplicate")]
)
def test_a_photo_that_looks_like_another(herd: Dataset, split: str, kind: str) -> None:
    image = cv2.imread(str(herd.root / "images/train/a.png"))
    write_photo(herd.root / f"images/{split}/copy.png", reworked(image))
    shutil.copy(herd.root / "labels/train/a.txt", herd.root / f"labels/{split}/copy.txt")
    (problem,) = check_dataset(herd).problems
    assert problem.kind == kind and "copy" in problem.file
    assert problem.detail == "looks like images/train/a.png in train"


def test_windows_split_at_random_leak_and_by_photo_do_not(tmp_path: Path) -> None:
    photos = {f"p{i}": BOXES for i in range(4)}
    herd = make(tmp_path / "herd", {"train": photos})
    config = TileConfig(size=64, scales=(1.0,), background=1.0)
    tiles = tile_dataset(herd, tmp_path / "tiles", config, ["train"]).parent
    for name, in_val in (("random", lambda i, _: i % 5 == 0), ("photo", lambda _, s: "p3" in s)):
        for i, image in enumerate(sorted((tiles / "images/train").iterdir())):
            split = "val" if in_val(i, image.name) else "train"
            target = tmp_path / name / "images" / split / image.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, target)
    found = {}
    for name in ("random", "photo"):
        (tmp_path / name / "data.yaml").write_text(
            "train: images/train\nval: images/val\nnames: [cow, calf]\n"
        )
        from deal_yolo.datasets.dataset import load_dataset

        report = check_dataset(load_dataset(tmp_path / name / "data.yaml"))
        found[name] = [p for p in report.problems if p.kind == "leak-source"]
    assert len(found["random"]) == 4 and not found["photo"]
    assert found["random"][0].detail.startswith("parts of 'p0'")


def test_windows_of_the_tiler_check_clean(tmp_path: Path) -> None:
    from deal_yolo.datasets.dataset import load_dataset

    herd = make(tmp_path / "herd", {"train": {"a": BOXES}, "val": {"b": BOXES}})
    config = TileConfig(size=64, scales=(1.0,), background=1.0)
    report = check_dataset(load_dataset(tile_dataset(herd, tmp_path / "tiles", config)))
    assert report.errors == 0
    assert "image-without-label" not in {p.kind for p in report.problems}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("DJI_0042", None),
        ("DJI_20230501120000_0042", None),
        ("seal", None),
        ("5MSL0008__100_0_512", "5MSL0008"),
        ("DJI_0042_3_0_0_640_640", "DJI_0042"),
        ("img_jpg.rf.0123456789abcdef0123456789abcdef", "img"),
        ("photo_tile_3_4", "photo"),
        ("photo-x640y0", "photo"),
        ("photo_r1_c2", "photo"),
        ("GX01_frame_000123", "GX01"),
        ("photo__50_0_0_jpg.rf.0123456789abcdef", "photo"),
    ],
)
def test_what_a_name_tells_of_its_source(name: str, source: str | None) -> None:
    assert source_of(Path(f"{name}.jpg")) == source


def test_a_pattern_of_the_users() -> None:
    pattern = source_pattern(r"^(\d+)_")
    assert source_of(Path("0001_00_d.jpg"), pattern) == "0001"
    assert source_of(Path("x.jpg"), pattern) is None
    for wrong in ("(", "abc"):
        with pytest.raises(ConfigError, match="expression|group"):
            source_pattern(wrong)


def test_even_and_dark_photos_are_not_taken_for_duplicates(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = []
    for i in range(6):
        image = np.zeros((96, 96, 3), np.uint8)
        image[:48] = 100 + 10 * i + rng.integers(0, 3, (48, 96, 3))
        seen.append(look(write_photo(tmp_path / f"{i}.png", image)))
    assert near_duplicates(seen) == []


def test_many_photos_of_one_hash_do_not_take_long(tmp_path: Path) -> None:
    one = look(write_photo(tmp_path / "a.png", noise(64, 64)))
    assert near_duplicates([one] * 20_000)[-1] == (0, 19_999)


def test_hashes_near_each_other_are_all_found() -> None:
    from deal_yolo.datasets.leaks import BITS, _close

    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**63, 300, dtype=np.uint64)
    flips = [sum(1 << int(b) for b in rng.choice(64, BITS, replace=False)) for _ in base]
    hashes = np.concatenate([base, base ^ np.array(flips, np.uint64)])
    wanted = {
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if bin(int(hashes[i]) ^ int(hashes[j])).count("1") <= BITS
    }
    assert _close(hashes) == wanted and len(wanted) >= 300


def test_the_sheet_shows_the_worst(herd: Dataset, tmp_path: Path) -> None:
    (herd.root / "labels/train/a.txt").write_text("0 1.0 0.5 0.2 0.1\nx\n")
    report = check_dataset(herd)
    assert write_sheet(herd, report, tmp_path / "sheet.png") == 1
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None


def test_no_sheet_where_nothing_is_wrong(herd: Dataset, tmp_path: Path) -> None:
    assert write_sheet(herd, check_dataset(herd), tmp_path / "sheet.png") == 0
    assert not (tmp_path / "sheet.png").exists()
