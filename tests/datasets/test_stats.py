from pathlib import Path

import pytest

from deal_yolo.datasets.stats import collect, describe
from deal_yolo.errors import ConfigError, DatasetError
from tests.datasets.made import make


def test_figures_worked_out_by_hand(tmp_path: Path) -> None:
    content = {
        "train": {"a": [(0, 0, 0, 20, 20), (1, 0, 0, 5, 20)], "b": []},
        "val": {"c": [(0, 0, 0, 40, 10)]},
    }
    figures = describe(collect(make(tmp_path, content)), imgsz=100)
    assert figures.photos == {"train": 2, "val": 1}
    assert figures.empty == {"train": 1, "val": 0}
    assert figures.objects == {"train": {"cow": 1, "calf": 1}, "val": {"cow": 1, "calf": 0}}
    assert figures.photo_sizes == ((200, 100, 3),)
    assert figures.density == {"least": 0, "median": 1, "mean": 1, "greatest": 2}
    assert figures.size_px[50] == pytest.approx(20, abs=1e-3)
    # Sides 20, 10, 20 px seen at half the size: 10, 5, 10 px.
    assert figures.mean_size_px == pytest.approx(25 / 3, abs=1e-3)
    assert figures.under == pytest.approx({8: 1 / 3, 16: 1, 32: 1})


def test_ignored_objects_do_not_count(tmp_path: Path) -> None:
    herd = make(tmp_path, {"train": {"a": [(0, 0, 0, 20, 20)]}})
    (tmp_path / "ignore/train").mkdir(parents=True)
    (tmp_path / "ignore/train/a.txt").write_text("-1 0.5 0.5 1 1\n")
    assert len(collect(herd).class_id) == 1


@pytest.mark.parametrize(
    ("photo", "side", "scales"),
    [
        ((640, 640), 64, None),
        ((4000, 3000), 20, (1.0,)),
        ((4000, 3000), 44, (1.0, 0.5)),
        ((4000, 3000), 80, (0.5, 0.25)),
        ((4000, 3000), 6, (1.0,)),
    ],
)
def test_the_windows_it_recommends(
    tmp_path: Path, photo: tuple[int, int], side: int, scales: tuple[float, ...] | None
) -> None:
    herd = make(tmp_path, {"train": {"a": [(0, 0, 0, side, side)]}}, size=photo)
    figures = describe(collect(herd), imgsz=640)
    if scales is None:
        assert figures.tile is None and "whole photos" in figures.advice[1]
        return
    assert figures.tile is not None and figures.tile.scales == scales
    assert figures.tile_mean_size_px == pytest.approx(side * sum(scales) / len(scales), rel=1e-3)
    assert f"C = {figures.tile_mean_size_px:.1f} px" in figures.advice[1]


def test_nothing_to_measure(tmp_path: Path) -> None:
    herd = make(tmp_path, {"train": {"a": []}})
    with pytest.raises(DatasetError, match="no objects in train"):
        collect(herd)


def test_a_size_that_makes_no_sense(tmp_path: Path) -> None:
    herd = make(tmp_path, {"train": {"a": [(0, 0, 0, 20, 20)]}})
    with pytest.raises(ConfigError, match="imgsz"):
        describe(collect(herd), imgsz=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_plots_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from deal_yolo.datasets.plots import write_plots

    herd = make(tmp_path, {"train": {"a": [(0, 0, 0, 20, 20)]}, "val": {"b": []}})
    made = write_plots(collect(herd), tmp_path / "plots")
    assert [p.name for p in made] == ["sizes.png", "classes.png", "positions.png", "density.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in made)
