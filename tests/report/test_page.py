import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from deal_yolo.cli.main import run
from deal_yolo.errors import SourceError
from deal_yolo.report.geo import Position, photo_position
from deal_yolo.report.page import Photo, read_photos, render

HEADER = "source,frame,time_s,class_id,class,score,x1,y1,x2,y2,track\n"


def photo_at(path: Path, gps: dict[int, object]) -> Path:
    image = Image.new("RGB", (8, 8))
    exif = image.getexif()
    exif.get_ifd(0x8825).update(gps)
    image.save(path, exif=exif)
    return path


def test_the_position_is_read_with_its_hemispheres(tmp_path: Path) -> None:
    gps = {1: "S", 2: (54.0, 30.0, 36.0), 3: "W", 4: (36.0, 15.0, 0.0), 5: b"\x00", 6: 120.5}
    position = photo_position(photo_at(tmp_path / "a.jpg", gps))
    assert position == Position(pytest.approx(-54.51), pytest.approx(-36.25), 120.5)


@pytest.mark.parametrize("gps", [{}, {2: (54.0, 30.0)}, {2: (99.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)}])
def test_no_or_impossible_positions_are_none(tmp_path: Path, gps: dict[int, object]) -> None:
    assert photo_position(photo_at(tmp_path / "a.jpg", gps)) is None


def test_what_is_no_photo_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no photo")
    with pytest.raises(SourceError, match=r"a\.jpg"):
        photo_position(tmp_path / "a.jpg")


def test_the_page_counts_every_photo_and_shows_its_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["a b.jpg,0,0,0,pup,0.9,0,0,1,1,\n", "a b.jpg,0,0,1,cow,0.8,0,0,1,1,\n"]
    rows += ["c.jpg,0,0,0,pup,0.7,0,0,1,1,\n"]
    (tmp_path / "detections.csv").write_text(HEADER + "".join(rows))
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a b.jpg")
    assert run(["report", str(tmp_path)]) == 0
    page = Path(capsys.readouterr().out.strip()).read_text()
    assert "3 animals in 2 photos" in page
    assert "<td>all</td><td>1</td><td>2</td><td>3</td>" in page  # cow, pup, all
    assert 'src="images/a%20b.jpg"' in page


def test_a_tracked_animal_counts_once(tmp_path: Path) -> None:
    rows = [f"v.mp4,{i},0,0,pup,0.9,0,0,1,1,{i % 2}\n" for i in range(10)]
    (tmp_path / "detections.csv").write_text(HEADER + "".join(rows))
    assert read_photos(tmp_path) == [Photo("v.mp4", Counter(pup=2))]


def test_photos_without_animals_are_listed(tmp_path: Path) -> None:
    seen = {"class": "pup", "track": None}
    records = [{"source": "a.jpg", "detections": []}, {"source": "b.jpg", "detections": [seen]}]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "detections.jsonl").write_text(lines)
    assert read_photos(tmp_path) == [Photo("a.jpg", Counter()), Photo("b.jpg", Counter(pup=1))]


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    (tmp_path / "detections.jsonl").write_text("{\n")
    with pytest.raises(SourceError, match="damaged"):
        read_photos(tmp_path)


def test_names_are_escaped() -> None:
    page = render([Photo("<script>.jpg", Counter({"<b>": 1}))], {})
    assert "<script>" not in page and "<b>" not in page


def test_a_folder_without_results_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", str(tmp_path)]) == 2
    assert "run predict with --save json" in capsys.readouterr().err


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "detections.csv").write_text(HEADER + "a.jpg,0\n\0\n")
    with pytest.raises(SourceError, match="damaged"):
        list(read_photos(tmp_path))
