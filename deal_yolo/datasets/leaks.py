"""Photos that show the same thing: windows of one photo, frames of one video, near-duplicates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deal_yolo.datasets.seen import Seen
from deal_yolo.errors import ConfigError

# Two hashes of 64 bits that differ in at most this many belong to photos worth comparing.
BITS = 6
# Photos whose thumbnails correlate this well where both have pixels are near-duplicates.
CORRELATION = 0.95
# Of the thumbnails, this share must not be black in both; and of what is not black in either.
LEAST_COMMON = 0.2
LEAST_SHARED = 0.8
# Standard deviation in grey levels below which a picture is too even to tell places apart.
LEAST_SPREAD = 4.0
BLOCK = 1024

# How a name tells that the photo is a part of another photo, or of a video.
PARTS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"_(?:jpe?g|png|tiff?|bmp)\.rf\.[0-9a-f]{8,}$",  # Roboflow's copies
        r"__\d+_\d+_\d+$",  # our own windows: scale, x, y
        r"_\d+_\d+_\d+_\d+_\d+$",  # SAHI's windows: number, x1, y1, x2, y2
        r"[-_ ]?(?:tile|patch|crop|slice|window|chip)[-_ ]?\d+(?:[-_x]\d+)*$",
        r"[-_]x\d+[-_]?y\d+$",
        r"[-_]r(?:ow)?\d+[-_]?c(?:ol)?\d+$",
        r"[-_ ]?(?:frame|frm)[-_ ]?\d+$",
    )
)


def source_pattern(pattern: str) -> re.Pattern[str]:
    """A user's regular expression whose first group is the source's name.

    Raises:
        ConfigError: it is malformed or has no group.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"'{pattern}' is not a regular expression: {error}") from error
    if not compiled.groups:
        raise ConfigError(f"'{pattern}' must have a group (in parentheses) for the source's name")
    return compiled


def source_of(image: Path, pattern: re.Pattern[str] | None = None) -> str | None:
    """The photo or video that a file is a part of, by its name; None if it seems to be whole."""
    if pattern is not None:
        found = pattern.search(image.stem)
        return found.group(1) if found else None
    stem = image.stem
    for part in PARTS:
        stem = part.sub("", stem)
    return stem if stem != image.stem else None


def near_duplicates(seen: Sequence[Seen]) -> list[tuple[int, int]]:
    """Pairs of numbers of photos that look the same, the smaller first, sorted.

    Hashes that differ in few bits give the candidates; of each the thumbnails are compared, so that
    photos which merely are dark or empty in the same places do not count. Photos with one and the
    same hash are compared with the first of them only.
    """
    hashes = np.array([s.hash for s in seen], np.uint64)
    usable = [i for i, s in enumerate(seen) if not s.fault]
    first: dict[int, int] = {}
    pairs = set()
    for i in usable:
        other = first.setdefault(int(hashes[i]), i)
        if other != i and _alike(seen[other], seen[i]):
            pairs.add((other, i))
    unique = np.array(list(first.values()), np.intp)
    for a, b in _close(hashes[unique]):
        i, j = sorted((int(unique[a]), int(unique[b])))
        if (i, j) not in pairs and _alike(seen[i], seen[j]):
            pairs.add((i, j))
    return sorted(pairs)


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """For each of ``count`` things, the least number of those it is joined to by ``pairs``."""
    parent = list(range(count))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs:
        a, b = sorted((find(i), find(j)))
        parent[b] = a
    return [find(i) for i in range(count)]


def _close(hashes: npt.NDArray[np.uint64]) -> set[tuple[int, int]]:
    """Pairs of numbers of hashes that differ in at most `BITS` bits.

    Two that differ in fewer than 8 bits have one of their 8 bytes in common, so only hashes with
    a byte in common are compared.
    """
    bytes_ = hashes.astype(">u8").view(np.uint8).reshape(-1, 8)
    ones = np.array([bin(i).count("1") for i in range(256)], np.uint8)
    found: set[tuple[int, int]] = set()
    for position in range(8):
        order = np.argsort(bytes_[:, position], kind="stable")
        values = bytes_[order, position]
        edges = np.flatnonzero(np.diff(values, prepend=-1, append=256).astype(bool))
        for bucket in np.split(order, edges[1:-1]):
            for start in range(0, len(bucket), BLOCK):
                part = bucket[start : start + BLOCK]
                rest = bucket[start:]
                apart = np.zeros((len(part), len(rest)), np.uint8)
                for column in range(8):
                    apart += ones[bytes_[part, None, column] ^ bytes_[None, rest, column]]
                a, b = np.nonzero(np.triu(apart <= BITS, 1))
                found.update(zip(part[a].tolist(), rest[b].tolist(), strict=True))
    return {(min(a, b), max(a, b)) for a, b in found}


def _alike(a: Seen, b: Seen) -> bool:
    common = (a.thumb > 8) & (b.thumb > 8)
    either = (a.thumb > 8) | (b.thumb > 8)
    if common.sum() < max(LEAST_COMMON * common.size, LEAST_SHARED * either.sum()):
        return False
    x, y = a.thumb[common].astype(np.float64), b.thumb[common].astype(np.float64)
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((x * x).sum() * (y * y).sum()))
    if spread < LEAST_SPREAD**2 * common.sum():
        return False
    return float((x * y).sum()) / spread >= CORRELATION
