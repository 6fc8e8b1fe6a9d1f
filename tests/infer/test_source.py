from __future__ import annotations

from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest

from deal_yolo.errors import SourceError
from deal_yolo.infer.source import find_media, public_name, read_image
from tests.infer.scene import scene


def save(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), scene([(10, 10, 20)], 64, 48))
    return path


def names(*sources: str) -> list[str]:
    return [str(m.name) for m in find_media(sources)]


def test_folders_are_read_whole_and_sorted(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "sub/c.jpeg", "note.txt", "clip.MP4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    media = find_media([str(tmp_path)])
    assert [(str(m.name), m.kind) for m in media] == [
        ("a.PNG", "photo"), ("b.jpg", "photo"), ("clip.MP4", "video"), ("sub/c.jpeg", "photo"),
    ]  # fmt: skip


def test_globs_files_and_each_only_once(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.png"):
        save(tmp_path / name)
    assert names(f"{tmp_path}/*.jpg", str(tmp_path / "a.jpg")) == ["a.jpg", "b.jpg"]


def test_equal_names_of_two_folders_stay_apart(tmp_path: Path) -> None:
    for folder in "xy":
        save(tmp_path / folder / "DJI_0001.jpg")
    assert names(f"{tmp_path}/*/*.jpg") == ["x/DJI_0001.jpg", "y/DJI_0001.jpg"]


def test_what_is_not_a_file_is_told_by_its_form() -> None:
    kinds = [find_media([s])[0] for s in ("0", "rtsp://u:p@host:1/live", "v4l2src ! appsink")]
    assert [m.kind for m in kinds] == ["capture", "stream", "capture"]
    assert kinds[1].name == PurePosixPath("rtsp-host-1-live")
    assert [m.live for m in kinds] == [True] * 3


@pytest.mark.parametrize(
    "address", ["rtsp://../../etc", "http://h/../../x", "rtsp://..", "http://"]
)
def test_results_of_an_address_stay_in_the_output_folder(address: str) -> None:
    name = find_media([address])[0].name
    assert len(name.parts) == 1
    assert ".." not in name.parts


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        find_media([str(tmp_path / "nothing.jpg")])
    with pytest.raises(SourceError, match="no photo or video matches"):
        find_media([str(tmp_path / "*.jpg")])
    with pytest.raises(SourceError, match="no photos or videos in this folder"):
        find_media([str(tmp_path)])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp"])
def test_cut_photos_are_named_not_filled_with_grey(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}")
    assert read_image(path).shape == (48, 64, 3)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    with pytest.raises(SourceError, match=f"a{suffix}: (cut short|damaged)"):
        read_image(path)


def test_a_cut_photo_with_a_whole_thumbnail_is_still_cut(tmp_path: Path) -> None:
    fine, thumbnail = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))
    assert fine
    data = save(tmp_path / "a.jpg").read_bytes()
    header = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail.tobytes()
    whole = data[:2] + header + data[2:]
    path = tmp_path / "b.jpg"
    path.write_bytes(whole + b"trailing data of the maker")
    assert read_image(path).shape == (48, 64, 3)
    path.write_bytes(whole[:-40])
    with pytest.raises(SourceError, match="cut short"):
        read_image(path)


def test_empty_file_and_folder_named_like_a_photo(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(SourceError, match="damaged or not a photo"):
        read_image(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").mkdir()
    with pytest.raises(SourceError, match="cannot be read"):
        read_image(tmp_path / "b.jpg")


def test_addresses_lose_their_password() -> None:
    assert public_name("rtsp://user:secret@host/x") == "rtsp://host/x"
    assert public_name("rtsp://host/a@b") == "rtsp://host/a@b"
