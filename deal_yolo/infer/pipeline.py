"""From a source through a strategy to the sinks; reading, detecting and writing overlap.

One thread reads, the caller's detects, one tracks, draws and writes. Bounded queues between them
keep the memory flat whatever is slowest; frames stay in order.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

from deal_yolo.detections import Detections
from deal_yolo.infer.detector import Strategy
from deal_yolo.infer.postprocess import one_box_each
from deal_yolo.infer.preprocess import Image
from deal_yolo.infer.record import make_record
from deal_yolo.infer.sinks import Result, Sink
from deal_yolo.infer.source import Frame, Unreadable

Item = Frame | Unreadable
Found = tuple[Frame, Detections]
Frames = Generator[Item, None, None]
Draw = Callable[[Image, Detections], Image]
Track = Callable[[Frame, Detections], Detections]
T = TypeVar("T")

DEPTH = 4  # frames waiting on either side of the model; photos of 50 megapixels take 150 MB each
_POLL_S = 0.1


@dataclass
class Timing:
    """Where the wall time went, in seconds.

    Args:
        wall: from the first frame wanted to the last one written.
        model: the strategy at work.
        reading: the strategy waiting for a frame.
        writing: the strategy waiting for the thread that tracks, draws and writes.
        track: tracking at work, beside the strategy.
    """

    wall: float = 0.0
    model: float = 0.0
    reading: float = 0.0
    writing: float = 0.0
    track: float = 0.0


@dataclass
class Summary:
    """What a run did.

    Args:
        frames: frames looked at.
        counts: objects by class name, over all frames.
        unreadable: what could not be read.
        timing: where the time went.
    """

    frames: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    unreadable: list[Unreadable] = field(default_factory=list)
    timing: Timing = field(default_factory=Timing)


class Pipeline:
    """Detects in frames and writes the results.

    Args:
        strategy: finds the objects.
        names: class names.
        conf: least score of a result.
        sinks: take the results, in this order.
        new_draw: makes what draws the pictures of one source; None where no sink needs them.
        track: numbers the objects; None if they are not tracked.
        batch: frames in one call of the strategy.
    """

    def __init__(
        self,
        strategy: Strategy,
        names: Sequence[str],
        conf: float,
        sinks: Sequence[Sink],
        new_draw: Callable[[], Draw] | None = None,
        track: Track | None = None,
        batch: int = 1,
    ) -> None:
        self._strategy = strategy
        self._names = tuple(names)
        self._conf = conf
        self._sinks = tuple(sinks)
        self._new_draw = new_draw
        self._track = track
        self._batch = batch

    def __call__(self, source: Frames, progress: Callable[[], None]) -> Summary:
        """Run to the end of the source.

        Args:
            source: the frames; closed at the end.
            progress: called after each frame is written.

        Raises:
            OutputError: a sink cannot write.
        """
        summary, stop = Summary(), threading.Event()
        frames: queue.Queue[Item | None] = queue.Queue(DEPTH)
        results: queue.Queue[Found | None] = queue.Queue(DEPTH)
        start = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            reader = pool.submit(_read, source, frames, stop)
            writer = pool.submit(self._write, results, summary.timing, progress)
            try:
                self._detect(frames, results, writer, summary)
            finally:  # also after Ctrl-C: what was detected is still written
                stop.set()
                _put(results, None, writer.done)
            writer.result()
            reader.result()
        summary.timing.wall = time.perf_counter() - start
        return summary

    def _detect(
        self,
        frames: queue.Queue[Item | None],
        results: queue.Queue[Found | None],
        writer: Future[None],
        summary: Summary,
    ) -> None:
        timing = summary.timing
        for items in _batches(frames, self._batch, timing):
            good = [item for item in items if isinstance(item, Frame)]
            summary.unreadable += [item for item in items if isinstance(item, Unreadable)]
            start = time.perf_counter()
            found = self._strategy([frame.image for frame in good]) if good else []
            timing.model += time.perf_counter() - start
            for frame, objects in zip(good, found, strict=True):
                objects = one_box_each(objects.select(objects.score >= self._conf))
                summary.frames += 1
                summary.counts.update(self._names[number] for number in objects.class_id)
                start = time.perf_counter()
                _put(results, (frame, objects), writer.done)
                timing.writing += time.perf_counter() - start
            if writer.done():
                return  # its error is raised by the caller

    def _write(
        self, results: queue.Queue[Found | None], timing: Timing, progress: Callable[[], None]
    ) -> None:
        source, draw = None, None
        while (item := results.get()) is not None:
            frame, found = item
            if self._track is not None:
                start = time.perf_counter()
                found = self._track(frame, found)
                timing.track += time.perf_counter() - start
            picture = None
            if self._new_draw is not None:
                if draw is None or frame.source != source:
                    source, draw = frame.source, self._new_draw()
                picture = draw(frame.image, found)
            result = Result(frame, found, make_record(frame, found, self._names), picture)
            for sink in self._sinks:
                sink.write(result)
            progress()


def _read(source: Frames, frames: queue.Queue[Item | None], stop: threading.Event) -> None:
    try:
        with closing(source):
            for item in source:
                if not _put(frames, item, stop.is_set):
                    return
    finally:
        _put(frames, None, stop.is_set)


def _put(where: queue.Queue[T], item: T, given_up: Callable[[], bool]) -> bool:
    """Wait for room, unless the other side has ended."""
    while not given_up():
        try:
            where.put(item, timeout=_POLL_S)
            return True
        except queue.Full:
            continue
    return False


def _batches(frames: queue.Queue[Item | None], size: int, timing: Timing) -> Iterator[list[Item]]:
    ended = False
    while not ended:
        items: list[Item] = []
        start = time.perf_counter()
        while len(items) < size:
            item = frames.get()
            if item is None:
                ended = True
                break
            items.append(item)
        timing.reading += time.perf_counter() - start
        if items:
            yield items
