from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path, PurePosixPath

import av
import cv2
import numpy as np
import pytest

from deal_yolo.detections import Detections
from deal_yolo.errors import OutputError
from deal_yolo.infer.draw import Annotator
from deal_yolo.infer.record import TextFile, from_record, make_record, read_journal
from deal_yolo.infer.sinks import (
    JOURNAL,
    CocoSink,
    CsvSink,
    ImageSink,
    JournalSink,
    Result,
    YoloSink,
    write_whole,
)  # fmt: skip
from deal_yolo.infer.source import Frame
from deal_yolo.infer.video_sink import VideoSink, frames_in, video_path
from tests.infer.scene import scene

NAMES = ("red", "green")


def result(index: int = 0, name: str = "sub/a.jpg", still: bool = True, grey: int = 0) -> Result:
    image = scene([], 101, 60) + np.uint8(grey)
    frame = Frame("in/a.jpg", PurePosixPath(name), index, index / 25, image, still)
    found = Detections(
        np.array([(10, 20, 30, 50), (1.234, 2, 5, 6)], np.float32),
        np.array([0.9, 0.25]),
        np.array([1, 0]),
        np.array([-1, 7]),
        np.array([1, 2]),
    )
    return Result(frame, found, make_record(frame, found, NAMES), image)


def test_journal_reads_back_what_was_found(tmp_path: Path) -> None:
    sink = JournalSink(tmp_path)
    sink.write(result())
    sink.close()
    (record,) = read_journal(tmp_path / JOURNAL)
    again = from_record(record)
    for name in ("score", "class_id", "track", "stage"):
        assert getattr(again, name).tolist() == pytest.approx(
            getattr(result().found, name).tolist()
        )
    assert np.abs(again.xyxy - result().found.xyxy).max() < 0.01


def test_a_line_cut_by_a_crash_is_left_out_a_damaged_one_is_named(tmp_path: Path) -> None:
    sink = JournalSink(tmp_path)
    sink.write(result(0))
    sink.write(result(1))
    sink.close()
    path = tmp_path / JOURNAL
    text = path.read_text()
    path.write_text(text[:-20])
    assert [r["frame"] for r in read_journal(path)] == [0]
    path.write_text("{}\n" + text)
    with pytest.raises(OutputError, match="line 1 is damaged"):
        list(read_journal(path))


def test_csv_has_the_promised_header_and_is_whole_after_each_frame(tmp_path: Path) -> None:
    sink = CsvSink(tmp_path)
    sink.write(result(3))
    with (tmp_path / "detections.csv").open() as file:  # before it is closed
        rows = list(csv.reader(file))
    assert ",".join(rows[0]) == ("source,frame,time_s,class_id,class,score,x1,y1,x2,y2,track")
    assert ",".join(rows[1]) == "in/a.jpg,3,0.12,1,green,0.9,10.0,20.0,30.0,50.0,"
    assert ",".join(rows[2]) == "in/a.jpg,3,0.12,0,red,0.25,1.23,2.0,5.0,6.0,7"
    sink.close()


def test_text_of_an_earlier_run_comes_first(tmp_path: Path) -> None:
    records = [result(n).record for n in range(3)]
    sink = CsvSink(tmp_path, records[:2])
    sink.write(result(2))
    sink.close()
    whole = CsvSink(tmp_path / "whole")
    for n in range(3):
        whole.write(result(n))
    whole.close()
    assert (tmp_path / "detections.csv").read_text() == (
        tmp_path / "whole" / "detections.csv"
    ).read_text()


def test_coco_is_made_of_the_journal(tmp_path: Path) -> None:
    journal, coco = JournalSink(tmp_path), CocoSink(tmp_path, NAMES)
    for n in range(2):
        journal.write(result(n))
        coco.write(result(n))
    journal.close()
    coco.close()
    data = json.loads((tmp_path / "detections.coco.json").read_text())
    assert [i["file_name"] for i in data["images"]] == ["sub/a.jpg"] * 2
    assert data["annotations"][0]["bbox"] == [10, 20, 20, 30]
    assert data["annotations"][0]["area"] == 600
    assert [a["image_id"] for a in data["annotations"]] == [0, 0, 1, 1]
    assert data["categories"] == [{"id": 0, "name": "red"}, {"id": 1, "name": "green"}]


def test_yolo_rows_are_shares_of_the_image(tmp_path: Path) -> None:
    YoloSink(tmp_path, NAMES).write(result())
    rows = np.loadtxt(tmp_path / "labels" / "sub" / "a.txt")
    assert rows[0] == pytest.approx([1, 20 / 101, 35 / 60, 20 / 101, 30 / 60], abs=1e-5)
    assert (tmp_path / "classes.txt").read_text() == "red\ngreen\n"


@pytest.mark.parametrize(("name", "saved"), [("a.jpg", "a.jpg"), ("x/a.TIF", "x/a.TIF.jpg")])
def test_pictures_keep_their_names(tmp_path: Path, name: str, saved: str) -> None:
    ImageSink(tmp_path).write(result(name=name))
    assert cv2.imread(str(tmp_path / "images" / saved)).shape == (60, 101, 3)
    assert not list(tmp_path.rglob("*.part"))


def test_a_full_disk_is_an_error_and_what_was_written_stays(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    file = TextFile(tmp_path / "a.csv", ["kept\n"])
    file._file.close()
    file._file = open("/dev/full", "w")  # noqa: SIM115
    with pytest.raises(OutputError, match="a.csv: cannot be written: No space left"):
        file.append("lost\n")
    assert (tmp_path / "a.csv").read_text() == "kept\n"
    with pytest.raises(OutputError):
        file.close()


def test_a_file_that_cannot_be_written_whole_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        write_whole(tmp_path / "a.json", b"{}")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for make in (lambda: CsvSink(tmp_path / "file"), lambda: YoloSink(tmp_path / "file", NAMES)):
        with pytest.raises(OutputError, match="cannot be written"):
            make()
    with pytest.raises(OutputError, match="cannot be written"):
        VideoSink(tmp_path / "file").write(result(name="c.mp4/0.jpg", still=False))


def video_frames(path: Path) -> list[tuple[int, float]]:
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.name == "h264"
        return [
            (round(f.time * 25), float(f.to_ndarray(format="gray").mean()))
            for f in file.decode(stream)
        ]


def clip(index: int) -> Result:
    return result(index, f"c.mp4/{index:06d}.jpg", still=False, grey=5 * index)


def test_video_is_h264_with_its_times_and_even_sides(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path)
    for n in (0, 1, 5, 6):
        sink.write(clip(n))
    sink.write(result())  # a photo in between is passed over
    sink.close()
    path = video_path(tmp_path, PurePosixPath("c.mp4/000000.jpg"))
    shown = video_frames(path)
    assert [n for n, _ in shown] == [0, 1, 5, 6]
    assert np.diff([grey for _, grey in shown]) == pytest.approx([5, 20, 5], abs=2)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # players can begin at once
    assert b"moof" not in data
    assert sorted(p.name for p in path.parent.iterdir()) == ["c.mp4"]


def test_video_is_readable_while_it_grows_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    killed = VideoSink(tmp_path)
    for n in range(10):
        killed.write(clip(n))
    path = video_path(tmp_path, PurePosixPath("c.mp4/000000.jpg"))
    assert len(video_frames(path)) >= 9  # nobody has closed it
    assert frames_in(path) >= 9
    sink = VideoSink(tmp_path, {"in/a.jpg": 7})
    for n in range(7, 12):
        sink.write(clip(n))
    sink.close()
    shown = video_frames(path)
    assert [n for n, _ in shown] == list(range(12))
    assert np.diff([grey for _, grey in shown]) == pytest.approx(5, abs=2)


@pytest.mark.parametrize("lost", [1, 20, 60])
def test_video_goes_on_after_a_full_disk_has_cut_its_last_frame(tmp_path: Path, lost: int) -> None:
    full = VideoSink(tmp_path)
    for n in range(10):
        full.write(clip(n))
    path = video_path(tmp_path, PurePosixPath("c.mp4/000000.jpg"))
    whole = frames_in(path)
    path.write_bytes(path.read_bytes()[:-lost])
    assert frames_in(path) == whole - 1
    sink = VideoSink(tmp_path, {"in/a.jpg": whole - 1})
    for n in range(whole - 1, 12):
        sink.write(clip(n))
    sink.close()
    assert [n for n, _ in video_frames(path)] == list(range(12))


def test_frames_in_what_is_no_video(tmp_path: Path) -> None:
    assert frames_in(tmp_path / "none.mp4") == 0
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    assert frames_in(tmp_path / "bad.mp4") == 0


def test_annotated_picture_shows_boxes_outside_the_animal_and_leaves_the_photo_alone() -> None:
    image = np.full((400, 600, 3), 90, np.uint8)
    found = Detections(
        np.array([(300, 200, 340, 240), (450, 300, 490, 340)]),
        np.array([0.9, 0.8]),
        np.array([0, 1]),
        stage=np.array([1, 2]),
    )
    picture = Annotator(NAMES)(image, found)
    assert (image == 90).all()
    assert (picture[201:239, 301:339] == 90).all()  # nothing drawn on the animal
    assert (picture[199, 300:340] != 90).any(axis=1).all()  # first look: a whole line
    side = (picture[299, 450:490] != 90).any(axis=1)
    assert side[:8].all()
    assert not side[15:25].any()  # second look: corners
    assert (picture[5:30, 5:100] != 90).any()  # the legend
    assert Annotator(NAMES)(image, Detections.empty()).shape == image.shape


@pytest.mark.parametrize("size", [(16, 16), (2000, 3000)])
def test_annotated_picture_of_any_size(size: tuple[int, int]) -> None:
    found = Detections(np.array([(1, 1, 9, 9)]), np.array([0.9]), np.array([0]), np.array([3]))
    picture = Annotator(NAMES)(np.zeros((*size, 3), np.uint8), found)
    assert picture.shape == (*size, 3)


def test_the_legend_hides_no_animal_where_another_corner_is_free() -> None:
    found = Detections(np.array([(5, 5, 40, 30)]), np.array([0.9]), np.array([0]))
    picture = Annotator(NAMES)(np.full((400, 600, 3), 90, np.uint8), found)
    assert (picture[8:28, 8:38] == 90).all()
    assert (picture[5:30, 500:595] != 90).any()
