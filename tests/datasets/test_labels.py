from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deal_yolo.datasets.labels import (
    Labels,
    Row,
    format_rows,
    label_path,
    parse_line,
    read_rows,
    to_labels,
    to_row,
)
from deal_yolo.errors import DatasetError


def test_a_box_in_pixels() -> None:
    labels = to_labels([Row(3, 0.5, 0.5, 0.1, 0.2)], [Row(-1, 0, 0, 0.2, 0.2)], 100, 200)
    np.testing.assert_allclose(labels.xyxy, [[45, 80, 55, 120], [-10, -20, 10, 20]])
    assert labels.class_id.tolist() == [3, -1]
    assert labels.ignore.tolist() == [False, True]
    assert not labels.xyxy.flags.writeable


def test_a_polygon_gives_the_box_around_it() -> None:
    row = parse_line("1 0.1 0.2 0.3 0.25 0.2 0.6")
    np.testing.assert_allclose([row.cx, row.cy, row.w, row.h], [0.2, 0.4, 0.2, 0.4])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 0.5 0.5 0.1", "4 values"),
        ("0 0.5 0.5 0.1 0.1 0.9", "6 values"),
        ("0 0.5 0.5 0.1 0.1 0.9 0.9 0.9", "8 values"),
        ("0 0.5 x 0.1 0.1", "not a number"),
        ("0 0.5 nan 0.1 0.1", "not finite"),
        ("0 0.5 inf 0.1 0.1", "not finite"),
        ("0.5 0.5 0.5 0.1 0.1", "not a class number"),
        ("-1 0.5 0.5 0.1 0.1", "not a class number"),
        ("1e300 0.5 0.5 0.1 0.1", "not a class number"),
        ("cow 0.5 0.5 0.1 0.1", "not a number"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, why: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text(f"0 0.5 0.5 0.1 0.1\n\n{line}\n")
    with pytest.raises(DatasetError, match=f"a.txt, line 3: .*{why}"):
        read_rows(file)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DatasetError, match="cannot read .*a.txt"):
        read_rows(file)


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbf0 0.5 0.5 0.1 0.1\r\n1 0.5 0.5 0.1 0.1\r\n")
    assert [row.class_id for row in read_rows(file)] == [0, 1]


def test_no_file_means_no_objects(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "none.txt") == []


@given(st.text(max_size=80) | st.from_regex(r"[0-9 .eE+\-naif\t]{0,60}", fullmatch=True))
def test_any_line_is_a_row_or_an_error(line: str) -> None:
    try:
        row = parse_line(line)
    except ValueError:
        return
    assert row.class_id >= 0
    assert np.isfinite([row.cx, row.cy, row.w, row.h]).all()


side = st.integers(16, 20_000)
share = st.floats(0, 1)


@given(side, side, st.tuples(share, share, share, share), st.integers(0, 80))
def test_a_box_written_and_read_is_the_same(
    width: int, height: int, shares: tuple[float, ...], number: int
) -> None:
    x1, x2 = sorted((shares[0] * width, shares[1] * width))
    y1, y2 = sorted((shares[2] * height, shares[3] * height))
    row = parse_line(format_rows([to_row(number, (x1, y1, x2, y2), width, height)]))
    labels = to_labels([row], [], width, height)
    assert row.class_id == number
    np.testing.assert_allclose(labels.xyxy[0], [x1, y1, x2, y2], atol=2e-3)


@pytest.mark.parametrize(
    ("image", "folder", "expected"),
    [
        ("images/train/a.jpg", "labels", "labels/train/a.txt"),
        ("train/images/a.jpg", "labels", "train/labels/a.txt"),
        ("images/images/a.b.jpg", "labels", "images/labels/a.b.txt"),
        ("images/train/a.jpg", "ignore", "ignore/train/a.txt"),
        ("photos/a.jpg", "labels", "photos/a.txt"),
        ("photos/a.jpg", "ignore", "photos/a.ignore.txt"),
    ],
)
def test_where_labels_stand(image: str, folder: str, expected: str) -> None:
    # A folder 'images' above the root is none of the data set's.
    root = Path("/data/images/set")
    assert label_path(root / image, root, folder) == root / expected


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="one length"):
        Labels(np.zeros((2, 4)), np.zeros(1), np.zeros(2))
