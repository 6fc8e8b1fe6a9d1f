import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deal_yolo.datasets import tile
from deal_yolo.datasets.dataset import Dataset, TileConfig, load_dataset
from deal_yolo.datasets.labels import Labels, read_rows
from deal_yolo.datasets.tile import read_manifest, tile_dataset
from deal_yolo.datasets.window import window_labels
from deal_yolo.errors import DatasetError, OutputError
from tests.datasets.made import make, write_photo

CONFIG = TileConfig(size=64, scales=(1.0, 0.5), background=1.0)


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.fixture
def herd(tmp_path: Path) -> Dataset:
    content = {
        "train": {"a": [(0, 10, 10, 30, 30), (1, 150, 60, 180, 90)], "b": []},
        "val": {"c": [(0, 90, 40, 110, 60)]},
    }
    return make(tmp_path / "herd", content)


def test_the_result_is_a_data_set_for_ultralytics(herd: Dataset, tmp_path: Path) -> None:
    made = load_dataset(tile_dataset(herd, tmp_path / "out", CONFIG))
    assert made.names == herd.names
    assert made.root == tmp_path / "out"
    assert {cv2.imread(str(p)).shape for p in made.images("train")} == {(64, 64, 3)}
    assert not list(tmp_path.glob(".*partial")) and not (tmp_path / "out" / "done").exists()


def test_the_manifest_leads_back_to_the_photo(herd: Dataset, tmp_path: Path) -> None:
    made = load_dataset(tile_dataset(herd, tmp_path / "out", CONFIG))
    boxes = {"a": [[10, 10, 30, 30], [150, 60, 180, 90]], "c": [[90, 40, 110, 60]]}
    seen = set()
    for window in read_manifest(made.root):
        image = cv2.imread(str(herd.root / window.source))
        assert (window.width, window.height) == image.shape[1::-1]
        labels = made.labels(made.root / window.window)
        for box, ignore in zip(labels.xyxy, labels.ignore, strict=True):
            back = box / window.scale + [window.x1, window.y1, window.x1, window.y1]
            original = min(boxes[Path(window.source).stem], key=lambda b: abs(b - back).sum())
            if np.allclose(back, original, atol=0.05):
                assert not ignore
                seen.add((Path(window.source).stem, tuple(original)))
        assert window.objects == (~labels.ignore).sum()
    assert len(seen) == 3


def test_pixels_are_those_of_the_photo(herd: Dataset, tmp_path: Path) -> None:
    tile_dataset(herd, tmp_path / "out", CONFIG)
    for window in read_manifest(tmp_path / "out"):
        if window.scale == 1:
            photo = cv2.imread(str(herd.root / window.source)).astype(int)
            pixels = cv2.imread(str(tmp_path / "out" / window.window)).astype(int)
            part = photo[window.y1 : window.y2, window.x1 : window.x2]
            assert abs(part - pixels).mean() < 8  # JPEG; elsewhere in the photo it is 40


def test_every_pixel_is_in_some_window(herd: Dataset, tmp_path: Path) -> None:
    tile_dataset(herd, tmp_path / "out", CONFIG)
    for scale in CONFIG.scales:
        covered = np.zeros((100, 200), bool)
        for w in read_manifest(tmp_path / "out"):
            if w.scale == scale and "a.png" in w.source:
                covered[w.y1 : w.y2, w.x1 : w.x2] = True
        assert covered.all()


def test_the_same_bytes_whatever_the_number_of_workers(herd: Dataset, tmp_path: Path) -> None:
    for workers in (1, 4):
        tile_dataset(herd, tmp_path / str(workers), CONFIG, workers=workers)
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "4")


def test_a_run_that_was_cut_off_goes_on(
    herd: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tile_dataset(herd, tmp_path / "whole", CONFIG).parent
    real, done = tile._tile_photo, []

    def fails_at_b(job: tile._Job, folder: Path) -> list[tile.Window]:
        if job.name == "b":
            raise KeyboardInterrupt
        return real(job, folder)

    def counted(job: tile._Job, folder: Path) -> list[tile.Window]:
        done.append(job.name)
        return real(job, folder)

    monkeypatch.setattr(tile, "_tile_photo", fails_at_b)
    with pytest.raises(KeyboardInterrupt):
        tile_dataset(herd, tmp_path / "out", CONFIG, workers=1)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(tile, "_tile_photo", counted)
    tile_dataset(herd, tmp_path / "out", CONFIG, workers=1)
    assert "a" not in done and "b" in done
    assert bytes_of(tmp_path / "out") == bytes_of(whole)


def test_other_settings_begin_anew(
    herd: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(job: tile._Job, folder: Path) -> list[tile.Window]:
        raise DatasetError("broken")

    with monkeypatch.context() as patch, pytest.raises(DatasetError):
        patch.setattr(tile, "_tile_photo", fails)
        tile_dataset(herd, tmp_path / "out", CONFIG)
    leftover = write_photo(
        tmp_path / ".out.partial/images/train/stale.jpg", np.zeros((4, 4, 3), np.uint8)
    )
    other = TileConfig(size=32, background=1.0)
    tile_dataset(herd, tmp_path / "out", other)
    assert not (tmp_path / "out/images/train" / leftover.name).exists()


def test_finished_work_is_left_alone_and_other_work_not_overwritten(
    herd: Dataset, tmp_path: Path
) -> None:
    first = tile_dataset(herd, tmp_path / "out", CONFIG)
    before = first.stat().st_mtime_ns
    assert tile_dataset(herd, tmp_path / "out", CONFIG).stat().st_mtime_ns == before
    with pytest.raises(OutputError, match="is there already"):
        tile_dataset(herd, tmp_path / "out", TileConfig(size=32))


def test_windows_that_are_mostly_black_are_left_out(tmp_path: Path) -> None:
    herd = make(tmp_path / "herd", {"train": {"a": []}}, size=(128, 64))
    image = cv2.imread(str(herd.images("train")[0]))
    image[:, 70:] = 3  # near black, as JPEG makes it
    write_photo(herd.images("train")[0], image)
    config = TileConfig(size=64, scales=(1.0,), overlap=0, background=1.0)
    tile_dataset(herd, tmp_path / "out", config, ["train"])
    assert [w.x1 for w in read_manifest(tmp_path / "out")] == [0]


def test_no_window_at_all_is_an_error(tmp_path: Path) -> None:
    herd = make(tmp_path / "herd", {"train": {"a": []}})
    write_photo(herd.images("train")[0], np.zeros((100, 200, 3), np.uint8))
    with pytest.raises(DatasetError, match="no window"):
        tile_dataset(herd, tmp_path / "out", CONFIG, ["train"])
    assert not (tmp_path / "out").exists()


def test_a_photo_smaller_than_a_window_is_padded(tmp_path: Path) -> None:
    herd = make(tmp_path / "herd", {"train": {"a": [(0, 5, 5, 25, 15)]}}, size=(30, 20))
    made = load_dataset(tile_dataset(herd, tmp_path / "out", CONFIG, ["train"]))
    image = next(p for p in made.images("train") if "__100_" in p.name)
    assert abs(cv2.imread(str(image))[40:, 40:].astype(int) - 114).max() < 4
    np.testing.assert_allclose(made.labels(image).xyxy, [[5, 5, 25, 15]], atol=1e-3)


def test_the_share_of_background_kept(tmp_path: Path) -> None:
    content = {s: {f"{s}{i}": [] for i in range(20)} for s in ("train", "val")}
    herd = make(tmp_path / "herd", content)
    kept = {}
    for share in (0.0, 0.5):
        config = TileConfig(size=32, scales=(1.0,), background=share)
        tile_dataset(herd, tmp_path / str(share), config)
        windows = read_manifest(tmp_path / str(share))
        kept[share] = [sum(w.split == s for w in windows) for s in ("train", "val")]
    total = kept[0.0][1]
    assert kept[0.0] == [0, total] and kept[0.5][1] == total
    assert 0.4 * total < kept[0.5][0] < 0.6 * total


def test_photos_of_one_name_in_two_folders_stay_apart(tmp_path: Path) -> None:
    herd = make(tmp_path / "herd", {"train": {"x/1": [], "y/1": []}})
    tile_dataset(herd, tmp_path / "out", CONFIG, ["train"])
    windows = read_manifest(tmp_path / "out")
    assert len({w.window for w in windows}) == len(windows)
    assert len(list((tmp_path / "out/images/train").iterdir())) == len(windows)
    assert {w.source for w in windows} == {"images/train/x/1.png", "images/train/y/1.png"}


def test_an_unreadable_photo_is_named_and_nothing_half_made(herd: Dataset, tmp_path: Path) -> None:
    herd.images("train")[1].write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="b.png"):
        tile_dataset(herd, tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()


def test_progress_reaches_the_end(herd: Dataset, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    lock = threading.Lock()

    def report(done: int, total: int) -> None:
        with lock:
            calls.append((done, total))

    tile_dataset(herd, tmp_path / "out", CONFIG, progress=report)
    assert calls[-1] == (3, 3)


def test_settings_are_kept_with_the_result(herd: Dataset, tmp_path: Path) -> None:
    tile_dataset(herd, tmp_path / "out", CONFIG)
    assert json.loads((tmp_path / "out/tile.json").read_text())["tile"]["size"] == 64


number = st.floats(0, 100)
boxes = st.lists(st.tuples(number, number, st.floats(1, 40), st.floats(1, 40)), max_size=8)


@given(boxes, st.integers(0, 60), st.integers(0, 60), st.sampled_from([1.0, 0.5, 0.25]))
@settings(deadline=None)
def test_labels_of_a_window(found: list[tuple[float, ...]], x: int, y: int, scale: float) -> None:
    config = TileConfig(size=32, visible=0.4)
    side = round(32 / scale)
    xyxy = np.array([(a, b, a + w, b + h) for a, b, w, h in found], np.float32).reshape(-1, 4)
    labels = Labels(xyxy, np.arange(len(xyxy)), np.zeros(len(xyxy)))
    part = window_labels(labels, np.array([x, y, x + side, y + side]), scale, config)
    assert (part.xyxy >= 0).all() and (part.xyxy <= 32).all()
    for i, (a, b, c, d) in enumerate(xyxy.astype(float)):
        width = max(0.0, min(c, x + side) - max(a, x))
        height = max(0.0, min(d, y + side) - max(b, y))
        share = width * height / ((c - a) * (d - b))
        kept = part.class_id[~part.ignore].tolist()
        if share > 0.4 + 1e-4 and min(width, height) * scale > 2 + 1e-4:
            assert i in kept
        if share < 0.4 - 1e-4 or min(width, height) * scale < 2 - 1e-4:
            assert i not in kept


def test_a_manifest_that_is_malformed_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("split,window\ntrain,a\n")
    with pytest.raises(DatasetError, match="manifest.csv"):
        read_manifest(tmp_path)
    with pytest.raises(DatasetError, match="manifest.csv"):
        read_manifest(tmp_path / "none")


def test_rows_of_windows_are_readable(herd: Dataset, tmp_path: Path) -> None:
    tile_dataset(herd, tmp_path / "out", CONFIG)
    for kind in ("labels", "ignore"):
        for file in (tmp_path / "out" / kind).rglob("*.txt"):
            assert read_rows(file)
