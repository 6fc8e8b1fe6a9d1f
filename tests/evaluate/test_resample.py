import dataclasses

import numpy as np
import pytest

from deal_yolo.errors import ConfigError, DatasetError
from deal_yolo.evaluate.evaluation import Options, evaluate
from deal_yolo.evaluate.predictions import Predictions
from deal_yolo.evaluate.resample import Figure, resample
from deal_yolo.evaluate.scores import differences
from deal_yolo.evaluate.split import Split, sampling_units
from tests.evaluate.made import NAMES, many


def named(split: Split, names: list[str]) -> Split:
    images = [split.dataset.root / "images" / name for name in names]
    return dataclasses.replace(split, images=images)


def test_photos_of_a_flight_are_drawn_together() -> None:
    drawn = resample(["a", "b", "a", "c", "b"], draws=50).of_photos
    assert drawn.shape == (51, 5)
    np.testing.assert_array_equal(drawn[0], 1)
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 2])
    np.testing.assert_array_equal(drawn[:, 1], drawn[:, 4])
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_many_flights_are_dealt_into_bounded_units() -> None:
    keys = [f"flight {i // 2}" for i in range(1000)]
    result = resample(keys, draws=5)
    assert result.weights.shape == (6, 200)
    np.testing.assert_array_equal(result.unit[0::2], result.unit[1::2])


def test_flights_alike_within_widen_the_interval(split: Split) -> None:
    """Each photo stands ten times in its flight: as photos they seem to be ten times as many."""
    labels, found = many(3, photos=8)
    flights = [f"{i:02d}" for i in range(8)]
    files = [f"{f}-{copy}.png" for f in flights for copy in range(10)]
    big = named(split, files)
    names = dict(enumerate(NAMES))
    config = dataclasses.replace(split.dataset.config, names=names)
    big = dataclasses.replace(
        big,
        dataset=dataclasses.replace(split.dataset, config=config),
        labels=[labels[i // 10] for i in range(80)],
    )
    found = [found[i // 10] for i in range(80)]
    widths = {}
    for flight in (None, r"^(\d+)-"):
        options = Options(draws=200, flight=flight, score_threshold=0.3)
        result = evaluate(big, {"one": Predictions(found)}, options)
        low, high = result.scores["one"].AP50.interval
        widths[result.units.kind] = high - low
        assert result.as_json()["bootstrap"]["units"] == result.units.count
    assert widths["flight"] > 2 * widths["photo"]


def test_paired_differences_of_the_same_photos_are_exact(split: Split) -> None:
    labels, found = many(1, photos=10)
    names = dict(enumerate(NAMES))
    config = dataclasses.replace(split.dataset.config, names=names)
    data = dataclasses.replace(split.dataset, config=config)
    images = [data.root / f"{i}.png" for i in range(10)]
    big = Split(data, "test", images, labels)
    twice = {"a": Predictions(found), "b": Predictions(found)}
    result = evaluate(big, twice, Options(draws=50, score_threshold=0.3))
    assert differences(result.scores)["b - a"]["AP50"].interval == (0, 0)


def test_windows_are_drawn_with_their_photo(split: Split) -> None:
    windows = named(split, [f"{photo}__50_{x}_0.jpg" for photo in "ab" for x in (0, 400)])
    units = sampling_units(windows)
    assert (units.kind, units.count, units.keys) == ("source", 2, ("a", "a", "b", "b"))
    assert sampling_units(named(split, ["a.jpg", "b.jpg"])).kind == "photo"


def test_flights_by_folder_or_by_the_data_yaml(split: Split) -> None:
    photos = named(split, ["f1/a.jpg", "f1/b.jpg", "f2/a.jpg"])
    assert sampling_units(photos, "folder").count == 2
    config = dataclasses.replace(split.dataset.config, flight="folder")
    data = dataclasses.replace(split.dataset, config=config)
    assert sampling_units(dataclasses.replace(photos, dataset=data)).kind == "flight"


@pytest.mark.parametrize(
    "flight, message",
    [("(test", "not a regular"), ("test", "must have a group"), (r"^(\d+)-", "no flight in")],
)
def test_a_wrong_flight_is_named(flight: str, message: str, split: Split) -> None:
    with pytest.raises((ConfigError, DatasetError), match=message):
        sampling_units(split, flight)


def test_one_flight_gives_no_interval(split: Split) -> None:
    with pytest.raises(DatasetError, match="are of one flight"):
        sampling_units(split, "^(test)")


def test_the_mean_of_trainings_is_taken_draw_by_draw() -> None:
    mean = Figure.mean([Figure(np.array([0.2, 0.1])), Figure(np.array([0.4, 0.5]))])
    np.testing.assert_allclose(mean.samples, [0.3, 0.3])
