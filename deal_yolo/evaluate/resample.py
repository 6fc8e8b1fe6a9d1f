"""Bootstrap over photos or flights: how much a figure would move with others of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
COVERAGE = 0.95
_MOST_UNITS = 200


@dataclass(frozen=True)
class Resamples:
    """Photos drawn with replacement, the same for all strategies so that differences are paired.

    Args:
        unit: ``(photos,)`` the unit each photo belongs to; photos of a unit are drawn together.
        weights: ``(1 + draws, units)`` how often a unit was drawn; all ones in the first row,
            which stands for the photos as they are.
    """

    unit: npt.NDArray[np.intp]
    weights: Floats

    @property
    def of_photos(self) -> Floats:
        """``(1 + draws, photos)`` how often a photo was drawn."""
        return self.weights[:, self.unit]


def resample(photos: int | Sequence[str], draws: int = 1000, seed: int = 0) -> Resamples:
    """Draw photos, or groups of them, with replacement, ``draws`` times as many as there are.

    More than 200 groups are dealt at random into 200 units of equal size first, which changes
    the intervals little and bounds time and memory.

    Args:
        photos: how many, or the name of each one's group (its flight, say), drawn as a whole.
        draws: resamples.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    keys = range(photos) if isinstance(photos, int) else photos
    number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    units = min(len(number), _MOST_UNITS)
    dealt = np.arange(units) if units == len(number) else rng.permutation(len(number)) % units
    unit = dealt[[number[key] for key in keys]]
    drawn = rng.multinomial(units, np.full(units, 1 / units), size=draws)
    return Resamples(unit, np.concatenate([np.ones((1, units)), drawn]))


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure with what it became in each resample.

    Args:
        samples: ``(1 + draws,)``; the first is the figure itself. NaN where it is not defined.
    """

    samples: Floats

    @property
    def value(self) -> float:
        """The figure on the photos as they are."""
        return float(self.samples[0])

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of its 95 % percentile interval; NaN without resamples."""
        return percentiles(self.samples[1:])

    def minus(self, other: Figure) -> Figure:
        """The paired difference to the same figure of another strategy."""
        return Figure(self.samples - other.samples)

    @staticmethod
    def mean(figures: Sequence[Figure]) -> Figure:
        """The mean of one figure over several trainings, resample by resample.

        Its interval is that of the photos; how far apart the trainings are it does not hold.
        """
        return Figure(np.mean([figure.samples for figure in figures], axis=0))


def percentiles(samples: npt.NDArray[np.floating]) -> tuple[float, float]:
    """The central 95 % of samples; NaN are left out, and the bounds NaN if none is left."""
    samples = samples[~np.isnan(samples)]
    if not len(samples):
        return float("nan"), float("nan")
    low, high = np.quantile(samples, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)
