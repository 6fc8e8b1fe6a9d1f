"""Tracking over a *simulated* pass: a window that pans and turns over a photo, with noise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deal_yolo.config import configs_folder, load
from deal_yolo.detections import UNTRACKED, Detections
from deal_yolo.errors import ConfigError
from deal_yolo.infer.source import read_image
from deal_yolo.infer.timeline import animals_csv, timeline_png
from deal_yolo.infer.track import Census, TrackConfig, Tracker

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
NAMES = ("pup", "cow", "bull", "other")
VIEW = (720, 960)


def test_shipped_default_is_the_default() -> None:
    assert load(TrackConfig, configs_folder() / "track" / "default.yaml") == TrackConfig()


def test_settings_that_contradict_are_refused() -> None:
    with pytest.raises(ConfigError, match="new_score must not be below high_score"):
        TrackConfig(new_score=0.2, high_score=0.5)


def grey() -> np.ndarray:
    return np.full((120, 160, 3), 90, np.uint8)


def test_numbers_begin_with_one_keep_the_order_and_do_not_change_boxes() -> None:
    tracker = Tracker(TrackConfig(camera="none"))
    seen = []
    for step in range(5):
        boxes = np.array([(10 + step, 10, 30 + step, 30), (100, 50, 120, 70)], np.float32)
        found = Detections(boxes, np.array([0.8, 0.9]), np.array([0, 1]))
        tracked = tracker(found, grey(), step / 25)
        assert (tracked.xyxy == found.xyxy).all()
        assert tracked.class_id.tolist() == [0, 1]
        seen.append(tracked.track.tolist())
    assert sorted(seen[-1]) == [1, 2]
    assert seen[-1] == seen[-2]


def test_frames_without_animals() -> None:
    tracker = Tracker(TrackConfig(camera="none"))
    assert len(tracker(Detections.empty(), grey(), 0.0)) == 0
    box = Detections(np.array([(10, 10, 30, 30)]), np.array([0.1]), np.array([0]))
    assert tracker(box, grey(), 0.04).track.tolist() == [UNTRACKED]


def read_truth(name: str, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rows = np.loadtxt(SAMPLE / "labels" / f"{name}.txt", ndmin=2)
    centre, half = rows[:, 1:3], rows[:, 3:5] / 2
    scale = np.array([size[1], size[0]] * 2)
    return np.hstack([centre - half, centre + half]) * scale, rows[:, 0].astype(int)


class SimulatedPass:
    """A drone's view of a photo: it pans and turns, boxes jitter, some are missed, some false."""

    def __init__(self, name: str, steps: int, seed: int = 0) -> None:
        self.photo = read_image(SAMPLE / "images" / f"{name}.jpg")
        height, width = self.photo.shape[:2]
        self.boxes, self.classes = read_truth(name, (height, width))
        self.steps = steps
        self.rng = np.random.default_rng(seed)
        middle = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        self.start, self.stop = middle.min(axis=0), middle.max(axis=0)

    def view(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The frame, and the matrix from the photo to it."""
        share = step / (self.steps - 1)
        x, y = self.start + (self.stop - self.start) * share
        matrix = cv2.getRotationMatrix2D((float(x), float(y)), 25 * np.sin(3 * share), 0.5)
        matrix[:, 2] += np.array(VIEW[::-1]) / 2 - (x, y)
        frame = cv2.warpAffine(self.photo, matrix, VIEW[::-1])
        noise = self.rng.normal(0, 4, frame.shape)
        return np.clip(frame + noise, 0, 255).astype(np.uint8), matrix

    def truth(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and boxes of the animals that are whole in the frame."""
        middle = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
        half = (self.boxes[:, 2:] - self.boxes[:, :2]) / 4
        boxes = np.hstack([middle - half, middle + half])
        inside = (boxes[:, :2] >= 0).all(axis=1) & (boxes[:, 2:] <= VIEW[::-1]).all(axis=1)
        return np.flatnonzero(inside), boxes[inside]

    def noisy(self, boxes: np.ndarray, classes: np.ndarray) -> Detections:
        keep = self.rng.random(len(boxes)) > 0.1
        boxes = boxes[keep] + self.rng.normal(0, 1.0, (int(keep.sum()), 4))
        scores = self.rng.uniform(0.35, 0.95, len(boxes))
        false = self.rng.uniform(0, 1, (1, 2)) * (np.array(VIEW[::-1]) - 30)
        boxes = np.vstack([boxes, np.hstack([false, false + 24])])
        scores = np.append(scores, self.rng.uniform(0.2, 0.5))
        return Detections(boxes, scores, np.append(classes[keep], 1))


def test_simulated_pass_counts_the_animals_within_a_tenth() -> None:
    from trackers.eval import box_iou, compute_clear_metrics, compute_identity_metrics

    flight = SimulatedPass("MA262988", 90)
    config = TrackConfig()
    tracker, census = Tracker(config), Census(config.confirm)
    truth_ids, track_ids, overlaps = [], [], []
    often: dict[int, int] = {}
    for step in range(flight.steps):
        frame, matrix = flight.view(step)
        numbers, boxes = flight.truth(matrix)
        for number in numbers:
            often[number] = often.get(number, 0) + 1
        found = tracker(flight.noisy(boxes, flight.classes[numbers]), frame, step / 15)
        census.add(
            {
                "source": "simulated",
                "frame": step,
                "time_s": step / 15,
                "detections": [
                    {"track": None if t == UNTRACKED else int(t), "class": NAMES[c], "score": s}
                    for t, c, s in zip(found.track, found.class_id, found.score, strict=True)
                ],
            }
        )
        tracked = found.select(found.track != UNTRACKED)
        truth_ids.append(numbers)
        track_ids.append(tracked.track.astype(int))
        overlaps.append(box_iou(boxes, tracked.xyxy))
    true_count = sum(n >= config.confirm for n in often.values())
    count = len(census.animals())
    clear = compute_clear_metrics(truth_ids, track_ids, overlaps)
    identity = compute_identity_metrics(truth_ids, track_ids, overlaps)
    switches = clear["IDSW"]
    print(
        f"simulated pass: {true_count} animals, {count} counted, {switches} identity switches, "
        f"MOTA {clear['MOTA']:.3f}, IDF1 {identity['IDF1']:.3f}"
    )
    assert true_count > 20
    assert abs(count - true_count) <= 0.1 * true_count
    assert switches <= 0.1 * true_count
    assert identity["IDF1"] > 0.8


def record(frame: int, *tracks: int, name: str = "cow") -> dict[str, object]:
    detections = [{"track": t, "class": name, "score": 0.5} for t in tracks]
    return {"source": "a", "frame": frame, "time_s": frame / 10, "detections": detections}


def test_census_takes_tracks_seen_often_enough_and_their_likeliest_class() -> None:
    census = Census(3)
    for number in range(3):
        census.add(record(number, 1))
    census.add(record(3, 1, 2, name="bull"))
    (animal,) = census.animals()
    assert (animal.track, animal.name, animal.frames) == (1, "cow", 4)
    assert (animal.first_s, animal.last_frame, animal.last_s) == (0.0, 3, 0.3)
    assert animals_csv([animal]).splitlines()[1] == "a,1,cow,0,0.0,3,0.3,4"


def test_timeline_is_a_picture_with_and_without_animals() -> None:
    census = Census(1)
    census.add(record(0, 1, 2))
    census.add(record(5, 2, name="bull"))
    for animals in (census.animals(), []):
        data = np.frombuffer(timeline_png(animals, NAMES, "a.mp4"), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert picture.shape[1] > 800
