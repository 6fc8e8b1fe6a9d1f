"""The one result type: what was found in one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deal_yolo.errors import require

if TYPE_CHECKING:
    import supervision as sv

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

UNTRACKED = -1


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects found in one image; arrays are read-only and of one length ``n``.

    Args:
        xyxy: ``(n, 4)`` corners left, top, right, bottom, in pixels of the source image.
        score: ``(n,)`` confidence in [0, 1].
        class_id: ``(n,)`` class numbers.
        track: ``(n,)`` track numbers, ``-1`` where there is none (the default).
        stage: ``(n,)`` which look gave the box: 1 (the default) or 2.

    Raises:
        ValueError: lengths differ, or a box or score is not finite.
    """

    xyxy: FloatArray
    score: FloatArray
    class_id: IntArray
    track: IntArray = field(default=None)  # type: ignore[arg-type]
    stage: IntArray = field(default=None)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        xyxy = np.array(self.xyxy, dtype=np.float32).reshape(-1, 4)
        n = len(xyxy)
        values = {
            "xyxy": xyxy,
            "score": np.array(self.score, dtype=np.float32).reshape(-1),
            "class_id": np.array(self.class_id, dtype=np.int32).reshape(-1),
            "track": _filled(self.track, n, UNTRACKED),
            "stage": _filled(self.stage, n, 1),
        }
        for name, value in values.items():
            if len(value) != n:
                raise ValueError(f"{name} has {len(value)} rows, xyxy has {n}")
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        if not (np.isfinite(self.xyxy).all() and np.isfinite(self.score).all()):
            raise ValueError("boxes and scores must be finite")

    def __len__(self) -> int:
        return len(self.xyxy)

    @classmethod
    def empty(cls) -> Detections:
        """No objects."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))

    @classmethod
    def concatenate(cls, parts: Sequence[Detections]) -> Detections:
        """All objects of ``parts``, in order."""
        if not parts:
            return cls.empty()
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in _FIELDS))

    def select(self, index: npt.NDArray[Any] | Sequence[int] | slice) -> Detections:
        """The objects at ``index`` (numbers, a boolean mask, or a slice), in its order."""
        if not isinstance(index, slice):
            index = np.asarray(index)
            index = index if index.dtype == bool else index.astype(np.intp)
        return Detections(*(getattr(self, name)[index] for name in _FIELDS))

    def replace(self, **arrays: npt.NDArray[Any]) -> Detections:
        """A copy with some arrays exchanged."""
        return Detections(**{name: arrays.get(name, getattr(self, name)) for name in _FIELDS})

    def to_supervision(self) -> sv.Detections:
        """The same objects as ``supervision.Detections``; the stage goes into its ``data``.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        supervision = require("supervision", "footage")
        tracked = bool((self.track != UNTRACKED).any())
        result: sv.Detections = supervision.Detections(
            xyxy=self.xyxy.copy(),
            confidence=self.score.copy(),
            class_id=self.class_id.astype(int),
            tracker_id=self.track.astype(int) if tracked else None,
            data={"stage": self.stage.copy()},
        )
        return result

    @classmethod
    def from_supervision(cls, other: sv.Detections) -> Detections:
        """Objects of a ``supervision.Detections``; a missing score is 1, a missing class 0."""
        n = len(other)
        return cls(
            xyxy=np.asarray(other.xyxy, np.float32),
            score=np.ones(n, np.float32)
            if other.confidence is None
            else np.asarray(other.confidence, np.float32),
            class_id=_filled(other.class_id, n, 0),
            track=_filled(other.tracker_id, n, UNTRACKED),
            stage=_filled(other.data.get("stage"), n, 1),
        )


_FIELDS = ("xyxy", "score", "class_id", "track", "stage")


def _filled(value: Any, n: int, default: int) -> IntArray:
    if value is None:
        return np.full(n, default, np.int32)
    return np.array(value, dtype=np.int32).reshape(-1)
