import json
from pathlib import Path

import pytest

from deal_yolo.cli.main import run
from tests.datasets.made import Box, make

BOXES: list[Box] = [(0, 10, 10, 40, 40), (1, 60, 20, 90, 60)]
Printed = pytest.CaptureFixture[str]


@pytest.fixture
def yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("DEAL_YOLO_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return str(make(tmp_path / "herd", {"train": {"a": BOXES}, "val": {"b": BOXES}}).yaml)


def one_line(printed: Printed, *parts: str) -> None:
    """Standard error ends in one line that begins with 'error:' and holds all of ``parts``."""
    captured = printed.readouterr()
    last = captured.err.strip().splitlines()[-1]
    assert last.startswith("error: ") and all(part in last for part in parts), captured.err
    assert "Traceback" not in captured.err and not captured.out


def test_tile(yaml: str, capsys: Printed) -> None:
    assert run(["data", "tile", "--data", yaml, "--out", "w", "--size", "64", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert Path(made["data"]).is_file()
    assert {(row["split"], row["scale"]) for row in made["rows"]} >= {("train", 1.0), ("val", 0.5)}
    assert run(["data", "tile", "--data", yaml, "--out", "w", "--size", "64"]) == 0
    assert "objects" in capsys.readouterr().out


def test_check_prints_the_keys_of_the_contract(yaml: str, capsys: Printed) -> None:
    assert run(["data", "check", "--data", yaml, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "images": 2, "errors": 0, "warnings": 0, "problems": [],
    }  # fmt: skip


def test_check_exits_with_2_if_there_are_errors(yaml: str, capsys: Printed) -> None:
    Path("herd/labels/train/a.txt").write_text("0 0.5\n" * 30)
    assert run(["data", "check", "--data", yaml, "--json", "--sheet", "sheet.png"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["errors"], found["warnings"]) == (30, 2)
    assert set(found["problems"][0]) == {"kind", "split", "file", "detail", "level"}
    assert Path("sheet.png").is_file()
    assert run(["data", "check", "--data", yaml]) == 2
    assert "and 20 more" in capsys.readouterr().out


def test_check_proposes_a_split(tmp_path: Path, capsys: Printed) -> None:
    photos = {f"f{i}_{j}": BOXES for i in range(5) for j in range(2)}
    yaml = str(make(tmp_path / "herd", {"train": photos}).yaml)
    out = str(tmp_path / "split")
    arguments = ["data", "check", "--data", yaml, "--split-by", "stem-regex"]
    assert run([*arguments, "--key", r"^(f\d)", "--out", out]) == 0
    assert run(["data", "check", "--data", f"{out}/data.yaml", "--source", r"^(f\d)"]) == 0
    capsys.readouterr()
    assert run([*arguments, "--key", r"^(f\d)"]) == 2
    one_line(capsys, "--out")
    assert run([*arguments, "--out", f"{out}2"]) == 2
    one_line(capsys, "stem-regex")


def test_stats(yaml: str, capsys: Printed) -> None:
    assert run(["data", "stats", "--data", yaml, "--json", "--imgsz", "320"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["objects"]["val"] == {"cow": 1, "calf": 1} and figures["imgsz"] == 320
    assert run(["data", "stats", "--data", yaml]) == 0
    assert "NWD" in capsys.readouterr().out


def test_convert(yaml: str, capsys: Printed) -> None:
    assert run(["data", "convert", "--from", "yolo", "--to", "coco", yaml, "c", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["photos"] == {"train": 1, "val": 1}
    assert run(["data", "convert", "--from", "coco", "c", "y", "--link"]) == 0
    assert run(["data", "check", "--data", "y/data.yaml"]) == 0


def test_preview(yaml: str) -> None:
    pytest.importorskip("albumentations")
    assert run(["data", "preview", "--data", yaml, "--out", "sheet.png", "--count", "1"]) == 0
    assert Path("sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["tile", "--data", "none", "--out", "w"], ["no data configuration 'none'"]),
        (["tile", "--data", "YAML", "--out", "w", "--size", "3"], ["size must be between"]),
        (["tile", "--data", "YAML", "--out", "w", "--scales", "a"], ["'a' is not a list"]),
        (["tile", "--data", "YAML", "--out", "w", "--splits", "test"], ["no split 'test'"]),
        (["tile", "--data", "YAML", "--out", "herd"], ["is there already"]),
        (["tile", "--data", "YAML", "--out", "herd/data.yaml/w"], ["cannot write"]),
        (["tile", "--data", "elephant-seals", "--out", "w"], ["DEAL_YOLO_DATA"]),
        (["check", "--data", "YAML", "--source", "("], ["regular expression"]),
        (["check", "--data", "YAML", "--split-by", "moon", "--out", "w"], ["--split-by is"]),
        (["stats", "--data", "YAML", "--splits", "night"], ["no split 'night'"]),
        (["stats", "--data", "YAML", "--imgsz", "0"], ["imgsz"]),
        (["convert", "--from", "yolo", "none", "w"], ["none does not exist"]),
        (["convert", "--from", "kitti", "herd", "w"], ["kitti"]),
        (["convert", "--from", "yolo", "herd", "herd"], ["is there already"]),
        (["convert", "--from", "yolo", "herd", "w", "--classes", "none"], ["cannot read none"]),
        (["preview", "--data", "YAML", "--augment", "none", "--out", "p.png"], ["'none'"]),
        (["preview", "--data", "YAML", "--out", "herd/data.yaml/p.png"], ["cannot write"]),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    yaml: str, capsys: Printed, arguments: list[str], parts: list[str]
) -> None:
    before = sorted(Path().rglob("*"))
    status = run(["data", *(yaml if a == "YAML" else a for a in arguments)])
    assert status == 2
    one_line(capsys, *parts)
    assert sorted(Path().rglob("*")) == before


def test_a_broken_label_is_named_by_file_and_line(yaml: str, capsys: Printed) -> None:
    Path("herd/labels/train/a.txt").write_text("0 .5 .5 .1 .1\n0 0.5\n")
    for command in (["tile", "--out", "w"], ["stats"]):
        assert run(["data", *command, "--data", yaml]) == 2
        one_line(capsys, "labels/train/a.txt, line 2: 2 values")
    assert run(["data", "convert", "--from", "yolo", "herd", "w"]) == 2
    one_line(capsys, "labels/train/a.txt, line 2: 2 values")
    assert not Path("w").exists()
