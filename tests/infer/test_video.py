from __future__ import annotations

import functools
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from deal_yolo.errors import ConfigError, SourceError
from deal_yolo.infer import video
from deal_yolo.infer.source import Frame, Unreadable
from deal_yolo.infer.video import Excerpt, count_frames, read_capture, read_stream, read_video
from tests.infer.clips import save_clip, save_sound

NAME = PurePosixPath("clip.mp4")
STEADY = [n / 25 for n in range(20)]
UNEVEN = [0.0, 0.04, 0.5, 0.51, 0.9, 1.7, 1.74, 2.5]


def read(path: Path, **excerpt: float) -> list[Frame]:
    items = list(read_video(str(path), NAME, Excerpt(**excerpt)))  # type: ignore[arg-type]
    assert all(isinstance(item, Frame) for item in items), items
    return items  # type: ignore[return-value]


def square_at(frame: Frame) -> tuple[int, int]:
    red = (frame.image[..., 2] > 150) & (frame.image[..., 1] < 100)
    ys, xs = np.nonzero(red)
    return int(xs.min()), int(ys.min())


def test_frames_have_number_time_and_pixels(tmp_path: Path) -> None:
    frames = read(save_clip(tmp_path / "a.mp4", STEADY))
    assert [f.index for f in frames] == list(range(20))
    assert [f.time_s for f in frames] == pytest.approx(STEADY, abs=1e-3)
    assert [square_at(f)[0] for f in frames] == [
        pytest.approx(8 + 4 * n % 80, abs=1) for n in range(20)
    ]
    assert frames[3].name == PurePosixPath("clip.mp4/000003.jpg")
    assert not frames[3].still


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_variable_frame_rate_keeps_its_times(tmp_path: Path, suffix: str) -> None:
    path = save_clip(tmp_path / f"a{suffix}", UNEVEN)
    assert [f.time_s for f in read(path)] == pytest.approx(UNEVEN, abs=2e-3)


def test_excerpts_keep_number_and_time(tmp_path: Path) -> None:
    path = save_clip(tmp_path / "a.mp4", STEADY)
    assert [f.index for f in read(path, every=6)] == [0, 6, 12, 18]
    late = read(path, from_s=0.5, to_s=0.62)
    assert [f.index for f in late] == [13, 14, 15]
    assert [square_at(f)[0] for f in late] == [
        pytest.approx(8 + 4 * n % 80, abs=1) for n in (13, 14, 15)
    ]
    assert [f.index for f in read(path, every=5, from_s=0.3)] == [10, 15]
    assert count_frames(str(path), Excerpt(5, 0.3)) == 2
    uneven = save_clip(tmp_path / "b.mp4", UNEVEN)
    assert [f.index for f in read(uneven, from_s=0.6)] == [4, 5, 6, 7]


def test_rotation_flag_turns_the_picture_upright(tmp_path: Path) -> None:
    plain = read(save_clip(tmp_path / "a.mp4", STEADY[:2]))[0].image
    for degrees, turns in ((90, 1), (180, 2), (-90, 3)):
        turned = read(save_clip(tmp_path / f"{degrees}.mp4", STEADY[:2], rotation=degrees))[0]
        expected = np.rot90(plain, turns)
        assert turned.image.shape == expected.shape
        assert np.abs(turned.image.astype(int) - expected).mean() < 3


def test_ten_bit(tmp_path: Path) -> None:
    path = save_clip(tmp_path / "a.mkv", STEADY[:3], codec="libx265", pix_fmt="yuv420p10le")
    frames = read(path)
    assert len(frames) == 3
    assert frames[0].image.dtype == np.uint8
    assert square_at(frames[2])[0] == pytest.approx(16, abs=2)


def test_4k(tmp_path: Path) -> None:
    pictures = [np.full((2160, 3840, 3), 90, np.uint8)] * 2
    frames = read(save_clip(tmp_path / "a.mp4", STEADY[:2], pictures=pictures))
    assert [f.image.shape for f in frames] == [(2160, 3840, 3)] * 2


def cut_short(path: Path) -> list[Frame | Unreadable]:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return list(read_video(str(path), NAME, Excerpt()))


def test_cut_short_gives_what_is_there_and_names_the_rest(tmp_path: Path) -> None:
    from deal_yolo.infer.video_sink import _finish  # puts the index in front, as cameras do

    times = [n / 25 for n in range(100)]
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in times]
    av = video._av()
    _finish(av, save_clip(tmp_path / "raw.mp4", times, pictures=pictures), tmp_path / "a.mp4")
    items = cut_short(tmp_path / "a.mp4")
    assert isinstance(items[-1], Unreadable)
    assert "a.mp4" in items[-1].reason
    assert 20 < len(items) - 1 < 80
    assert all(isinstance(item, Frame) for item in items[:-1])


def test_index_lost_with_the_end_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a readable video"):
        cut_short(save_clip(tmp_path / "a.mp4", STEADY))


def test_no_frames_sound_alone_and_text(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no pictures in this file"):
        list(read_video(str(save_sound(tmp_path / "a.wav")), NAME, Excerpt()))
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(SourceError, match="not a readable video"):
        list(read_video(str(tmp_path / "a.txt"), NAME, Excerpt()))
    empty = save_clip(tmp_path / "empty.mkv", STEADY)
    data = empty.read_bytes()
    empty.write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])  # before the first cluster
    with pytest.raises(SourceError, match="no frames|not a readable video"):
        list(read_video(str(empty), NAME, Excerpt()))


@pytest.mark.parametrize("wrong", [{"every": 0}, {"from_s": -1.0}, {"from_s": 3.0, "to_s": 2.0}])
def test_an_excerpt_that_holds_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Excerpt(**wrong)  # type: ignore[arg-type]


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_stream_that_never_answers_times_out(silent_server: str, scheme: str) -> None:
    start = time.monotonic()
    with pytest.raises(SourceError, match="no answer in 1 s"):
        list(read_stream(f"{scheme}://{silent_server}/live", NAME, Excerpt(), 1.0))
    assert time.monotonic() - start < 8


def test_a_file_served_by_http_ends_there(tmp_path: Path) -> None:
    save_clip(tmp_path / "a.mp4", STEADY)
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://user:secret@127.0.0.1:{server.server_port}/a.mp4"
        frames = list(read_stream(url, NAME, Excerpt(), 5.0))
        server.shutdown()
    assert len(frames) == 20
    assert "secret" not in frames[0].source


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class Flaky(Quiet):
    """A live stream that drops after each connection, and is gone after the third."""

    visits = 0
    body = b""

    def do_GET(self) -> None:
        type(self).visits += 1
        if self.visits > 3:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        self.wfile.write(self.body)


def test_a_stream_that_drops_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "_RETRY_S", 0.1)
    monkeypatch.setattr(video, "_ends", lambda container: False)  # as a live stream
    Flaky.body = save_clip(tmp_path / "a.ts", STEADY).read_bytes()
    Flaky.visits = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Flaky) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/live.ts"
        items = list(read_stream(url, NAME, Excerpt(), 1.0))
        server.shutdown()
    frames = [item for item in items if isinstance(item, Frame)]
    # What was still in the decoder when a connection broke is lost; the rest is numbered on.
    assert 40 <= len(frames) <= 60
    assert [f.index for f in frames] == list(range(len(frames)))
    times = [f.time_s for f in frames]
    assert times == sorted(times)
    assert isinstance(items[-1], Unreadable)
    assert "silent for 1 s" in items[-1].reason


def test_no_such_camera_and_no_gstreamer() -> None:
    with pytest.raises(SourceError, match="camera 97 cannot be opened"):
        list(read_capture("97", NAME, Excerpt()))
    with pytest.raises(SourceError, match="GStreamer"):
        list(read_capture("videotestsrc ! appsink", NAME, Excerpt()))
