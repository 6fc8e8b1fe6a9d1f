from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Generator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest

from deal_yolo.detections import Detections
from deal_yolo.errors import OutputError
from deal_yolo.infer.detector import Look
from deal_yolo.infer.pipeline import DEPTH, Frames, Pipeline
from deal_yolo.infer.sinks import Result
from deal_yolo.infer.source import Frame, Unreadable
from tests.infer.scene import detector, scene

NAMES = ("red", "green")


def frame(index: int, image: np.ndarray | None = None) -> Frame:
    image = scene([(8, 8, 24)], 64, 64) if image is None else image
    return Frame("clip", PurePosixPath(f"clip/{index:06d}.jpg"), index, index / 25, image, False)


def frames(count: int) -> Frames:
    for index in range(count):
        yield frame(index)


class Keep:
    """A sink that remembers which frames it got."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.got: list[int] = []
        self.seconds = seconds

    def write(self, result: Result) -> None:
        time.sleep(self.seconds)
        self.got.append(result.frame.index)

    def close(self) -> None:
        pass


class Sleepy:
    """A strategy that takes its time and finds nothing."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.sizes: list[int] = []

    def __call__(self, images: Any) -> list[Detections]:
        time.sleep(self.seconds)
        self.sizes.append(len(images))
        return [Detections.empty()] * len(images)

    def look(self, images: Any) -> list[Look]:
        raise NotImplementedError


def run(pipeline: Pipeline, source: Frames) -> Any:
    return pipeline(source, lambda: None)


def test_every_frame_once_in_order_with_its_counts() -> None:
    sink = Keep()
    summary = run(Pipeline(detector(), NAMES, 0.5, [sink]), frames(30))
    assert sink.got == list(range(30))
    assert summary.frames == 30
    assert summary.counts == {"red": 30}


def test_scores_below_conf_are_left_out() -> None:
    faint = frame(0, scene([(8, 8, 4)], 64, 64))
    summary = run(Pipeline(detector(), NAMES, 0.5, [Keep()]), (f for f in [faint]))
    assert summary.counts.total() == 0


def test_unreadable_items_are_kept_and_passed_over() -> None:
    bad = Unreadable("b", "b: damaged")
    sink = Keep()
    source: Frames = (item for item in (frame(0), bad, frame(1)))
    summary = run(Pipeline(Sleepy(), NAMES, 0.5, [sink]), source)
    assert summary.unreadable == [bad]
    assert sink.got == [0, 1]


def test_batches_are_full_but_for_the_last() -> None:
    sleepy = Sleepy()
    run(Pipeline(sleepy, NAMES, 0.5, [Keep()], batch=4), frames(10))
    assert sleepy.sizes == [4, 4, 2]


def test_reading_and_writing_overlap_the_model() -> None:
    def slow(count: int) -> Frames:
        for index in range(count):
            time.sleep(0.02)
            yield frame(index)

    summary = run(Pipeline(Sleepy(0.03), NAMES, 0.5, [Keep(0.02)]), slow(30))
    timing = summary.timing
    assert timing.model / timing.wall >= 0.85
    assert timing.wall < 30 * 0.07 * 0.8


def test_queues_are_bounded() -> None:
    read = 0

    def eager() -> Frames:
        nonlocal read
        for index in range(100):
            read += 1
            yield frame(index)

    ahead = []

    class Watch(Keep):
        def write(self, result: Result) -> None:
            super().write(result)
            ahead.append(read - len(self.got))

    run(Pipeline(Sleepy(), NAMES, 0.5, [Watch(0.002)]), eager())
    assert max(ahead) <= 2 * DEPTH + 4


@pytest.mark.slow
def test_memory_is_flat_over_5000_frames() -> None:
    peaks = []

    class Watch(Keep):
        def write(self, result: Result) -> None:
            if result.frame.index % 500 == 499:
                peaks.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        run(Pipeline(detector(), NAMES, 0.5, [Watch()]), frames(5000))
    finally:
        tracemalloc.stop()
    assert len(peaks) == 10
    assert max(peaks[1:]) - min(peaks[1:]) < 2e6


class Full(Keep):
    def write(self, result: Result) -> None:
        if result.frame.index == 3:
            raise OutputError("out: cannot be written: No space left on device")
        super().write(result)


def test_a_sink_that_fails_stops_the_run_and_closes_the_source() -> None:
    closed = threading.Event()

    def source() -> Frames:
        try:
            yield from frames(10_000)
        finally:
            closed.set()

    sink = Full()
    with pytest.raises(OutputError, match="No space left"):
        run(Pipeline(Sleepy(), NAMES, 0.5, [sink]), source())
    assert sink.got == [0, 1, 2]
    assert closed.is_set()


def test_a_source_that_fails_ends_the_run_after_what_was_read() -> None:
    def source() -> Generator[Frame, None, None]:
        yield frame(0)
        raise OSError("gone")

    sink = Keep()
    with pytest.raises(OSError, match="gone"):
        run(Pipeline(Sleepy(), NAMES, 0.5, [sink]), source())
    assert sink.got == [0]


def test_an_interrupt_still_writes_what_was_detected() -> None:
    class Interrupted(Sleepy):
        def __call__(self, images: Any) -> list[Detections]:
            if len(self.sizes) == 5:
                raise KeyboardInterrupt
            return super().__call__(images)

    sink = Keep(0.01)
    with pytest.raises(KeyboardInterrupt):
        run(Pipeline(Interrupted(), NAMES, 0.5, [sink]), frames(100))
    assert sink.got == [0, 1, 2, 3, 4]
