"""Transforms that albumentations lacks. Importing this module needs albumentations."""

from __future__ import annotations

from typing import Any

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt

from deal_yolo.config import check_range
from deal_yolo.errors import ConfigError

Range = tuple[float, float]
PADDING = 114  # the grey that ultralytics pads with


class Altitude(A.DualTransform):  # type: ignore[misc]
    """See the scene from higher up with the same camera.

    What a camera does, in its order: the lens blurs, each pixel of the sensor averages the light
    that falls on it, the sensor adds noise, the file is compressed. A bare resize leaves out all
    but one of these, and a detector trained on it looks for animals sharper than they will be.
    The result stands at a random place in an image of the same size; the rest is grey.

    Args:
        scale: least and greatest px after for a px before; 0.5 is twice the height.
        blur: standard deviation of the lens blur, in px after.
        noise: standard deviation of the noise, as a share of white.
        quality: of the JPEG compression, 1 to 100.
        p: probability.
    """

    _targets = (A.core.type_definitions.Targets.IMAGE, A.core.type_definitions.Targets.BBOXES,
                A.core.type_definitions.Targets.KEYPOINTS)  # fmt: skip

    class InitSchema(A.BasicTransform.InitSchema):  # type: ignore[misc]
        """Types of the arguments, checked by albumentations."""

        scale: Range
        blur: Range
        noise: Range
        quality: Range

    def __init__(
        self,
        scale: Range = (0.5, 1.0),
        blur: Range = (0.3, 0.8),
        noise: Range = (0.0, 0.03),
        quality: Range = (60, 95),
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        limits = {"scale": (0.05, 1), "blur": (0, 10), "noise": (0, 1), "quality": (1, 100)}
        for name, given in zip(limits, (scale, blur, noise, quality), strict=True):
            for value in given:
                check_range(f"Altitude: {name}", value, *limits[name])
            if given[0] > given[1]:
                raise ConfigError(f"Altitude: {name} must be the least and the greatest value")
        self.scale, self.blur, self.noise, self.quality = scale, blur, noise, quality

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw height, place and image quality for one image."""
        height, width = params["shape"][:2]
        scale = self.py_random.uniform(*self.scale)
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        return {
            "small": small,
            "left": self.py_random.randint(0, width - small[0]),
            "top": self.py_random.randint(0, height - small[1]),
            "sigma": self.py_random.uniform(*self.blur),
            "deviation": self.py_random.uniform(*self.noise) * 255,
            "level": round(self.py_random.uniform(*self.quality)),
            "noise_seed": self.py_random.getrandbits(32),
        }

    def apply(
        self, img: npt.NDArray[np.uint8], small: tuple[int, int], left: int, top: int, **more: Any
    ) -> npt.NDArray[np.uint8]:
        """The image from higher up; ``(h, w, channels)`` as given."""
        factor = img.shape[1] / small[0]
        if more["sigma"] > 0:
            img = cv2.GaussianBlur(img, (0, 0), more["sigma"] * factor)
        seen = cv2.resize(img, small, interpolation=cv2.INTER_AREA)
        if more["deviation"] > 0:
            rng = np.random.default_rng(more["noise_seed"])
            grain = rng.standard_normal(seen.shape, np.float32) * np.float32(more["deviation"])
            seen = np.clip(seen + grain, 0, 255).astype(np.uint8)
        _, code = cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, more["level"]])
        seen = np.asarray(cv2.imdecode(code, cv2.IMREAD_UNCHANGED), np.uint8)
        canvas = np.full_like(img, PADDING)
        canvas[top : top + small[1], left : left + small[0]] = seen.reshape(
            *small[::-1], *img.shape[2:]
        )
        return canvas

    def apply_to_bboxes(
        self, bboxes: npt.NDArray[Any], small: tuple[int, int], left: int, top: int, **more: Any
    ) -> npt.NDArray[Any]:
        """Boxes ``(n, 4 + labels)`` as shares of the image's size."""
        height, width = more["shape"][:2]
        moved = np.array(bboxes)
        moved[:, [0, 2]] = (moved[:, [0, 2]] * small[0] + left) / width
        moved[:, [1, 3]] = (moved[:, [1, 3]] * small[1] + top) / height
        return moved

    def apply_to_keypoints(
        self, keypoints: npt.NDArray[Any], small: tuple[int, int], left: int, top: int, **more: Any
    ) -> npt.NDArray[Any]:
        """Points ``(n, 2 + more)`` in px."""
        height, width = more["shape"][:2]
        moved = np.array(keypoints)
        moved[:, 0] = moved[:, 0] * small[0] / width + left
        moved[:, 1] = moved[:, 1] * small[1] / height + top
        return moved


class DropSmall(A.DualTransform):  # type: ignore[misc]
    """Drop boxes with a side under ``least`` px: there is nothing of the animal left to learn.

    Args:
        least: side in px of the image as trained on.
        p: probability.
    """

    _targets = Altitude._targets

    class InitSchema(A.BasicTransform.InitSchema):  # type: ignore[misc]
        """Types of the arguments, checked by albumentations."""

        least: float

    def __init__(self, least: float = 2.0, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.least = least

    def apply(self, img: npt.NDArray[np.uint8], **_: Any) -> npt.NDArray[np.uint8]:
        """The image as it is."""
        return img

    def apply_to_bboxes(self, bboxes: npt.NDArray[Any], **more: Any) -> npt.NDArray[Any]:
        """The boxes that are large enough."""
        height, width = more["shape"][:2]
        size = (bboxes[:, 2:4] - bboxes[:, :2]) * (width, height)
        # Half a thousandth of a px, since shares are kept in 32 bits.
        return np.asarray(bboxes[(size >= self.least - 5e-4).all(axis=1)])

    def apply_to_keypoints(self, keypoints: npt.NDArray[Any], **_: Any) -> npt.NDArray[Any]:
        """The points as they are."""
        return keypoints
