import numpy as np
import pytest

from deal_yolo.evaluate.gallery import draw_sheet, worst, write_sheet
from deal_yolo.evaluate.split import Split
from tests.evaluate.made import found_at, labels_of

A, B, C, NOTHING = (0, 0, 20, 20), (50, 50, 80, 80), (90, 0, 100, 10), (200, 200, 230, 230)


def test_mistakes_are_told_apart_and_sorted() -> None:
    labels = [labels_of([A, B, C]), labels_of([A])]
    found = [
        found_at([A, (2, 0, 22, 20), NOTHING, B], [0.9, 0.6, 0.7, 0.2]),
        found_at([A, NOTHING], [0.5, 0.8]),
    ]
    mistakes = worst(labels, found, 0.4)
    missed = [(m.photo, m.box.tolist(), round(m.score, 3)) for m in mistakes["misses"]]
    assert missed == [(0, list(C), 0), (0, list(B), 0.2)]
    alarms = [(m.photo, round(m.score, 3)) for m in mistakes["false alarms"]]
    assert alarms == [(1, 0.8), (0, 0.7)]
    assert [round(m.score, 3) for m in mistakes["double counts"]] == [0.6]
    assert [m.there for m in mistakes["double counts"]] == [0]
    assert [m.there for m in mistakes["false alarms"]] == [None, None]


def test_only_the_worst_are_kept_and_ignored_animals_are_no_mistake() -> None:
    labels = [labels_of([A, B], [0, 0], [True, False])]
    found = [found_at([A, *[NOTHING] * 9], [0.9, *np.linspace(0.5, 0.8, 9)])]
    mistakes = worst(labels, found, 0.4, most=3)
    assert len(mistakes["misses"]) == 1
    assert [round(m.score, 3) for m in mistakes["false alarms"]] == pytest.approx(
        [0.8, 0.762, 0.725], abs=1e-3
    )
    assert mistakes["double counts"] == []


def test_the_sheet_shows_the_mistake_in_red_in_the_middle_of_its_view(
    split: Split, tmp_path
) -> None:
    found = [found_at([], [])] * 3
    sheet = draw_sheet(split, found, worst(split.labels, found, 0.4))
    assert sheet.shape[1] == 1800
    view = sheet[40 : 40 + 180, :180].astype(int)
    red = (view[..., 2] > 150) & (view[..., 1] < 120)
    ys, xs = np.nonzero(red)
    assert abs(xs.mean() - 90) < 2
    assert abs(ys.mean() - 90) < 2
    write_sheet(tmp_path / "deep" / "sheet.png", sheet)
    assert (tmp_path / "deep" / "sheet.png").read_bytes()[:4] == b"\x89PNG"
