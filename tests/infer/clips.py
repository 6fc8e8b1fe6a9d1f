"""Tiny videos with known pixels: frame i shows a grey of 8 i, and a square that walks."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.infer.scene import scene

TICK = Fraction(1, 1000)


def picture(number: int, width: int = 128, height: int = 96) -> np.ndarray:
    return scene([(8 + 4 * number % 80, 16, 24)], width, height)


def save_clip(
    path: Path,
    times: Sequence[float],
    rotation: int = 0,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    pictures: Sequence[np.ndarray] | None = None,
) -> Path:
    shown = pictures if pictures is not None else [picture(n) for n in range(len(times))]
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.height, stream.width = shown[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = TICK
        stream.time_base = TICK
        if codec == "libx264":
            stream.options = {"crf": "10", "g": "5"}
        if rotation:
            stream.set_display_rotation(rotation)
        for image, time_s in zip(shown, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = round(time_s / TICK), TICK
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def save_sound(path: Path) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = 8000, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path
