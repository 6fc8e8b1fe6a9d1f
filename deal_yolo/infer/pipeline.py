"""From a source through a strategy to the sinks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from deal_yolo.detections import Detections
from deal_yolo.infer.detector import Strategy
from deal_yolo.infer.preprocess import Image
from deal_yolo.infer.record import make_record
from deal_yolo.infer.sinks import Result, Sink
from deal_yolo.infer.source import Frame, Unreadable

Draw = Callable[[Image, Detections], Image]


@dataclass
class Summary:
    """What a run did.

    Args:
        frames: frames looked at.
        counts: objects by class name.
        unreadable: what could not be read.
    """

    frames: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    unreadable: list[Unreadable] = field(default_factory=list)


def run(
    source: Iterable[Frame | Unreadable],
    strategy: Strategy,
    sinks: Sequence[Sink],
    names: Sequence[str],
    conf: float,
    draw: Draw | None,
    progress: Callable[[], None] = lambda: None,
) -> Summary:
    """Detect in every frame and write the results.

    Args:
        source: the frames.
        strategy: finds the objects.
        sinks: take the results, in this order.
        names: class names.
        conf: least score of a result.
        draw: makes the annotated pictures; None where no sink needs them.
        progress: called after each frame.

    Raises:
        OutputError: a sink cannot write.
    """
    summary = Summary()
    for item in source:
        if isinstance(item, Unreadable):
            summary.unreadable.append(item)
        else:
            found = strategy([item.image])[0]
            found = found.select(found.score >= conf)
            picture = None if draw is None else draw(item.image, found)
            result = Result(item, found, make_record(item, found, names), picture)
            for sink in sinks:
                sink.write(result)
            summary.frames += 1
            summary.counts.update(names[number] for number in found.class_id)
        progress()
    return summary
