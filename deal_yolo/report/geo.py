"""Where a photo was taken, as its EXIF says."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from deal_yolo.errors import SourceError, require

GPS = 0x8825  # tags of the EXIF standard, JEITA CP-3451
LATITUDE_REF, LATITUDE, LONGITUDE_REF, LONGITUDE, ALTITUDE_REF, ALTITUDE = range(1, 7)


@dataclass(frozen=True)
class Position:
    """A place on WGS 84.

    Args:
        latitude: degrees, north positive.
        longitude: degrees, east positive.
        altitude: metres above sea level; None where it is not told.
    """

    latitude: float
    longitude: float
    altitude: float | None = None


def photo_position(photo: Path) -> Position | None:
    """The position in a photo's EXIF; None where there is none or it is out of range.

    Raises:
        SourceError: the file is not a photo.
        MissingExtraError: Pillow is not installed.
    """
    pil = require("PIL.Image", "report")
    try:
        with pil.open(photo) as image:
            tags = image.getexif().get_ifd(GPS)
    except (OSError, SyntaxError, ValueError, ImportError) as error:
        # ImportError: where ultralytics is loaded, Pillow first looks for a HEIF plugin.
        raise SourceError(f"{photo}: not a readable photo") from error
    return _position(tags)


def _position(tags: dict[int, Any]) -> Position | None:
    try:
        latitude, longitude = _degrees(tags[LATITUDE]), _degrees(tags[LONGITUDE])
        altitude = float(tags[ALTITUDE]) if ALTITUDE in tags else None
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    latitude *= -1 if tags.get(LATITUDE_REF) == "S" else 1
    longitude *= -1 if tags.get(LONGITUDE_REF) == "W" else 1
    if abs(latitude) > 90 or abs(longitude) > 180:
        return None
    if altitude is not None and tags.get(ALTITUDE_REF) in (1, b"\x01"):
        altitude = -altitude  # below sea level
    return Position(latitude, longitude, altitude)


def _degrees(parts: Any) -> float:
    degrees, minutes, seconds = (Fraction(float(part)) for part in parts)
    return float(degrees + minutes / 60 + seconds / 3600)
