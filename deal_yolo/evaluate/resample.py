"""Bootstrap over photos: how much a figure would move with other photos of the same kind."""

from __future__ import annotations

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


def resample(photos: int, draws: int = 1000, seed: int = 0) -> Resamples:
    """Draw ``photos`` photos with replacement, ``draws`` times.

    More than 200 photos are dealt at random into 200 units of equal size first, which changes
    the intervals little and bounds time and memory.
    """
    rng = np.random.default_rng(seed)
    units = min(photos, _MOST_UNITS)
    unit = np.arange(photos) if units == photos else rng.permutation(photos) % units
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


def percentiles(samples: npt.NDArray[np.floating]) -> tuple[float, float]:
    """The central 95 % of samples; NaN are left out, and the bounds NaN if none is left."""
    samples = samples[~np.isnan(samples)]
    if not len(samples):
        return float("nan"), float("nan")
    low, high = np.quantile(samples, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)
