"""Animals that keep their number while the drone moves, and how many there were.

Association is that of the ``trackers`` library, which also estimates the camera's motion from
the picture. A track counts as an animal once it was seen in enough frames.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from deal_yolo.config import check_range
from deal_yolo.detections import UNTRACKED, Detections
from deal_yolo.errors import ConfigError, require
from deal_yolo.infer.preprocess import Image
from deal_yolo.infer.record import Record
from deal_yolo.infer.source import Frame


@dataclass(frozen=True)
class TrackConfig:
    """How detections of one frame are joined to those of the frames before.

    Args:
        new_score: least score of a detection that begins a track.
        high_score: detections from this score on choose their track first.
        match: least IoU times score of a detection and the track it continues.
        rescue: least IoU of a weak detection and the track it continues.
        lost_s: seconds after which a track that is not seen ends.
        confirm: frames in which a track must be seen to count as an animal.
        camera: how the camera's motion is estimated; ``none`` for a camera that stands still.
        camera_downscale: how much smaller the picture is for that.
    """

    new_score: float = 0.3
    high_score: float = 0.3
    match: float = 0.1
    rescue: float = 0.3
    lost_s: float = 1.0
    confirm: int = 3
    camera: Literal["sparseOptFlow", "orb", "ecc", "none"] = "sparseOptFlow"
    camera_downscale: int = 4

    def __post_init__(self) -> None:
        for name in ("new_score", "high_score", "match", "rescue"):
            check_range(name, getattr(self, name), 0, 1)
        check_range("lost_s", self.lost_s, 0, 3600)
        check_range("confirm", self.confirm, 1, 10_000)
        check_range("camera_downscale", self.camera_downscale, 1, 16)
        if self.high_score > self.new_score:
            raise ConfigError("new_score must not be below high_score")


class Tracker:
    """Numbers the objects of one video, frame after frame, from 1 on.

    Args:
        config: None takes the defaults.
        frame_rate: frames a second that are looked at, roughly; the true times count.

    Raises:
        MissingExtraError: trackers is not installed.
    """

    def __init__(self, config: TrackConfig | None = None, frame_rate: float = 30.0) -> None:
        c = config or TrackConfig()
        self._tracker: Any = require("trackers", "footage").BoTSORTTracker(
            lost_track_buffer=round(c.lost_s * 30),  # the library counts frames at 30 a second
            frame_rate=frame_rate,
            track_activation_threshold=c.new_score,
            minimum_consecutive_frames=1,
            minimum_iou_threshold_first_assoc=c.match,
            minimum_iou_threshold_second_assoc=c.rescue,
            minimum_iou_threshold_unconfirmed_assoc=c.match,
            high_conf_det_threshold=c.high_score,
            enable_cmc=c.camera != "none",
            cmc_method="orb" if c.camera == "none" else c.camera,
            cmc_downscale=c.camera_downscale,
        )

    def __call__(self, found: Detections, image: Image, time_s: float) -> Detections:
        """``found`` with its track numbers, in its own order.

        Args:
            found: objects of the frame, in its px.
            image: the frame.
            time_s: when it was taken; must grow from call to call.
        """
        given = found.to_supervision()
        given.data["row"] = np.arange(len(found))
        tracked = self._tracker.update(given, image, timestamp=time_s)
        numbers = np.full(len(found), UNTRACKED, np.int32)
        if len(tracked):
            numbers[tracked.data["row"]] = np.where(
                tracked.tracker_id < 0, UNTRACKED, tracked.tracker_id + 1
            )
        return found.replace(track=numbers)


class Tracks:
    """Tracks each video by itself; photos pass as they are."""

    def __init__(self, config: TrackConfig) -> None:
        self._config = config
        self._source: str | None = None
        self._tracker = Tracker(config)

    def __call__(self, frame: Frame, found: Detections) -> Detections:
        """The objects of a frame with their track numbers."""
        if frame.still:
            return found
        if frame.source != self._source:
            self._source, self._tracker = frame.source, Tracker(self._config)
        return self._tracker(found, frame.image, frame.time_s)


@dataclass
class Animal:
    """One track: where and when it was first and last seen, and what it most likely is.

    Args:
        source: the video.
        track: its number there.
        first_frame: and the others: frame numbers, and seconds since the video's start.
        frames: in how many frames it was seen.
        votes: sum of its scores by class name.
    """

    source: str
    track: int
    first_frame: int
    first_s: float
    last_frame: int = 0
    last_s: float = 0.0
    frames: int = 0
    votes: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def name(self) -> str:
        """The class with the highest sum of scores."""
        return max(self.votes, key=lambda name: self.votes[name])


class Census:
    """Counts distinct animals from the records of frames."""

    def __init__(self, confirm: int) -> None:
        self._confirm = confirm
        self._tracks: dict[tuple[str, int], Animal] = {}

    def add(self, record: Record) -> None:
        """Take in the tracked objects of a frame."""
        for found in record["detections"]:
            if found["track"] is None:
                continue
            key = (record["source"], found["track"])
            animal = self._tracks.get(key)
            if animal is None:
                animal = Animal(*key, record["frame"], record["time_s"])
                self._tracks[key] = animal
            animal.last_frame, animal.last_s = record["frame"], record["time_s"]
            animal.frames += 1
            animal.votes[found["class"]] += found["score"]

    def animals(self) -> list[Animal]:
        """The tracks seen often enough to count, in order of appearance."""
        return [a for a in self._tracks.values() if a.frames >= self._confirm]


def by_class(animals: Sequence[Animal]) -> Iterator[tuple[str, list[Animal]]]:
    """Class names with their animals, the most frequent class first."""
    groups: dict[str, list[Animal]] = defaultdict(list)
    for animal in animals:
        groups[animal.name].append(animal)
    yield from sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
