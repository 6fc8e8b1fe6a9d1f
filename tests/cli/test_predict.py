from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import pytest

from deal_yolo.cli import main
from deal_yolo.infer.record import read_journal
from tests.infer.clips import picture, save_clip, save_sound
from tests.infer.graph import metadata, save_graph
from tests.infer.scene import scene

Run = Callable[..., tuple[int, str, str]]
SQUARES = [(100, 100, 32), (400, 300, 40)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_graph(tmp_path_factory.mktemp("weights") / "squares.onnx")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.png"):
        cv2.imwrite(str(folder / name), scene(SQUARES))
    return folder


def start(*arguments: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from deal_yolo.cli.main import main; main()", "predict"]
    pipe = subprocess.PIPE
    # A shell starts background jobs with Ctrl-C ignored, and their children inherit that.
    with_interrupt = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=pipe,
        stderr=pipe,
        text=True,
        cwd=cwd,
        preexec_fn=with_interrupt,
    )


def run(*arguments: object) -> tuple[int, str, str]:
    """Status, standard output and standard error of the command, run in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main.run(["predict", *map(str, arguments)])
    return status, out.getvalue(), err.getvalue()


def run_apart(*arguments: object) -> tuple[int, str, str]:
    """The same in a process of its own, with what libraries in C print."""
    process = start(*arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def refused(out: Path, *arguments: object, how: Run = run) -> str:
    """The one line with which a command is refused, nothing written."""
    code, _, err = how(*arguments, "--out", out)
    assert code == 2, err
    assert err.startswith("error: "), err
    assert err.count("\n") == 1, err
    assert not out.exists() or out.is_file()
    return err


def test_photos_to_all_results(photos: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    save = "images,csv,json,coco,yolo"
    code, text, err = run(photos, "--weights", weights, "--save", save, "--out", out,
                          "--imgsz", 320, "--conf", 0.5)  # fmt: skip
    assert (code, err) == (0, "")
    assert "red" in text
    assert str(out) in text
    pictures = ["images/a.jpg", "images/b.png", "labels/a.txt", "labels/b.txt"]
    tables = ["detections.csv", "detections.jsonl", "detections.coco.json", "run.json"]
    for name in [*pictures, *tables, "classes.txt"]:
        assert (out / name).is_file(), name
    with (out / "detections.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["source"] for row in rows} == {str(photos / "a.jpg"), str(photos / "b.png")}
    assert {row["class"] for row in rows} == {"red"}
    assert min(float(row["score"]) for row in rows) >= 0.5
    records = list(read_journal(out / "detections.jsonl"))
    assert [len(r["detections"]) for r in records] == [len(rows) // 2] * 2


def test_json_is_pure_json_on_stdout(photos: Path, weights: Path, tmp_path: Path) -> None:
    code, text, _ = run(photos, "--weights", weights, "--out", tmp_path / "out", "--json",
                        "--strategy", "whole")  # fmt: skip
    figures = json.loads(text)
    assert code == 0
    assert figures["frames"] == 2
    assert set(figures["counts"]) <= {"red", "green"}


@pytest.mark.parametrize("strategy", ["whole", "sliced", "two-stage"])
def test_strategies(strategy: str, photos: Path, weights: Path, tmp_path: Path) -> None:
    code, _, err = run(photos / "a.jpg", "--weights", weights, "--strategy", strategy,
                       "--save", "csv", "--out", tmp_path / "out", "--imgsz", 320)  # fmt: skip
    assert (code, err) == (0, "")


def test_a_cut_photo_among_good_ones_is_named(photos: Path, weights: Path, tmp_path: Path) -> None:
    data = (photos / "a.jpg").read_bytes()
    (photos / "aa.jpg").write_bytes(data[: len(data) // 2])
    code, _, err = run_apart(
        *(photos, "--weights", weights, "--out", tmp_path / "out", "--save", "images")
    )
    assert code == 1
    assert err == f"error: not read: {photos / 'aa.jpg'}: cut short, copy the file again\n"
    assert sorted(p.name for p in (tmp_path / "out" / "images").iterdir()) == ["a.jpg", "b.png"]


def test_wrong_sources(tmp_path: Path, weights: Path, photos: Path) -> None:
    out, given = tmp_path / "out", ("--weights", weights)
    assert "no such file or folder" in refused(out, tmp_path / "nothing.jpg", *given)
    (tmp_path / "empty").mkdir()
    assert "no photos or videos" in refused(out, tmp_path / "empty", *given)
    (tmp_path / "cut.jpg").write_bytes((photos / "a.jpg").read_bytes()[:500])
    assert "cut short" in refused(out, tmp_path / "cut.jpg", *given)
    assert "no pictures in this file" in refused(out, save_sound(tmp_path / "a.wav"), *given)
    assert "camera 97" in refused(out, "97", *given, how=run_apart)
    assert "--save video needs a video" in refused(out, photos, *given, "--save", "video")
    assert "--track needs a video" in refused(out, photos, *given, "--track")
    url = "http://127.0.0.1:9/live"
    assert "no answer" in refused(out, url, *given, "--timeout", 1)


def test_wrong_weights(tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "out"
    assert "no such weights file" in refused(out, photos, "--weights", tmp_path / "a.onnx")
    (tmp_path / "a.pth").touch()
    assert "unknown kind of weights '.pth'" in refused(out, photos, "--weights", tmp_path / "a.pth")
    (tmp_path / "a.onnx").write_bytes(b"nothing")
    assert "not a usable ONNX file" in refused(out, photos, "--weights", tmp_path / "a.onnx")
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    refused(out, photos, "--weights", tmp_path / "a.safetensors")
    three = save_graph(tmp_path / "three.onnx", meta=metadata(("a", "b", "c")))
    assert "2 class scores but names 3" in refused(out, photos, "--weights", three)


def test_wrong_options(tmp_path: Path, photos: Path, weights: Path) -> None:
    out, given = tmp_path / "out", (photos, "--weights", weights)
    assert "no strategy 'all'" in refused(out, *given, "--strategy", "all")
    assert "cannot save 'xml'" in refused(out, *given, "--save", "xml")
    assert "conf must be between 0 and 1" in refused(out, *given, "--conf", 2)
    assert "multiple of 8" in refused(out, *given, "--imgsz", 100)
    assert "no refine configuration" in refused(out, *given, "--refine", "nothing")
    assert "every must be" in refused(out, *given, "--every", 0)
    assert "for --strategy two-stage" in refused(
        out, *given, "--strategy", "whole", "--max-windows", 3
    )
    assert "no device" in refused(out, *given, "--device", "tpu")


def test_output_that_cannot_be_written(tmp_path: Path, photos: Path, weights: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a file" in refused(tmp_path / "file", photos, "--weights", weights)


def test_an_extra_that_is_not_installed_is_named(
    tmp_path: Path, photos: Path, clip: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ("supervision", "trackers"):
        (hidden / f"{name}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')"
        )
    monkeypatch.setenv("PYTHONPATH", str(hidden), prepend=os.pathsep)
    line = refused(tmp_path / "out", clip, "--weights", weights, "--track", how=run_apart)
    assert "trackers is not installed: pip install 'deal-yolo[footage]'" in line
    code, _, _ = run_apart(photos, "--weights", weights, "--out", tmp_path / "out")
    assert code == 0  # the table and the pictures need no extra


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    times = [n / 25 for n in range(60)]
    pictures = [picture(n, 256, 192) for n in range(60)]
    return save_clip(tmp_path / "clip.mp4", times, pictures=pictures)


def video_times(path: Path) -> list[int]:
    with av.open(str(path)) as file:
        return [round(f.time * 25) for f in file.decode(video=0)]


def test_video_with_tracks_in_one_pass(clip: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, text, err = run(clip, "--weights", weights, "--track", "--timing", "--out", out,
                          "--save", "images,video,csv,coco,yolo", "--strategy", "whole",
                          "--imgsz", 256, "--conf", 0.8, "--every", 2)  # fmt: skip
    assert (code, err) == (0, "")
    assert "distinct animals" in text
    assert "waiting for frames" in text
    assert video_times(out / "videos" / "clip.mp4") == list(range(0, 60, 2))
    assert (out / "images" / "clip.mp4" / "000058.jpg").is_file()
    assert (out / "timelines" / "clip.mp4.png").is_file()
    with (out / "animals.csv").open() as file:
        assert list(csv.DictReader(file))
    records = list(read_journal(out / "detections.jsonl"))
    assert [r["frame"] for r in records] == list(range(0, 60, 2))
    assert any(f["track"] for r in records for f in r["detections"])


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    for _ in range(600):
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("nothing was written")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_is_readable_and_goes_on(
    how: signal.Signals, weights: Path, tmp_path: Path
) -> None:
    frames = 300
    times = [n / 25 for n in range(frames)]
    long = save_clip(
        tmp_path / "long.mp4", times, pictures=[picture(n, 256, 192) for n in range(frames)]
    )
    given = (long, "--weights", weights, "--strategy", "whole", "--imgsz", 256, "--conf", 0.8,
             "--track", "--save", "video,csv,coco")  # fmt: skip
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert run(*given, "--out", whole)[0] == 0
    process = start(*given, "--out", out)
    wait_for_lines(out / "detections.jsonl", 10, process)
    process.send_signal(how)
    process.communicate(timeout=60)
    before = [r["frame"] for r in read_journal(out / "detections.jsonl")]
    assert 10 <= len(before) < frames
    assert before == list(range(len(before)))
    assert len(video_times(out / "videos" / "long.mp4")) >= len(before) - 1
    code, _, err = run(*given, "--out", out, "--resume")
    assert (code, err) == (0, "")
    for name in ("detections.csv", "detections.jsonl", "detections.coco.json", "animals.csv"):
        assert (out / name).read_text() == (whole / name).read_text(), name
    assert video_times(out / "videos" / "long.mp4") == list(range(frames))


def test_resume_with_other_settings_is_refused(photos: Path, weights: Path, tmp_path: Path) -> None:
    given = (photos, "--weights", weights, "--save", "csv", "--out", tmp_path / "out")
    assert run(*given)[0] == 0
    before = (tmp_path / "out" / "detections.csv").read_text()
    code, _, err = run(*given, "--resume", "--conf", 0.9)
    assert code == 2
    assert "'conf' was another then" in err
    assert (tmp_path / "out" / "detections.csv").read_text() == before
    code, text, _ = run(*given, "--resume", "--json")
    assert (code, json.loads(text)["frames"]) == (0, 0)  # all was done
    assert (tmp_path / "out" / "detections.csv").read_text() == before


def test_a_video_cut_short_is_done_as_far_as_it_goes(weights: Path, tmp_path: Path) -> None:
    times = [n / 25 for n in range(100)]
    path = save_clip(tmp_path / "a.mkv", times)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    code, _, err = run(path, "--weights", weights, "--save", "csv", "--out", tmp_path / "out",
                       "--strategy", "whole")  # fmt: skip
    assert code == 1
    assert "a.mkv" in err
    assert len(list(read_journal(tmp_path / "out" / "detections.jsonl"))) > 10
