import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deal_yolo.cli.main import app
from deal_yolo.errors import InputError
from tests.evaluate.made import save_dataset
from tests.infer.graph import save_graph

KEYS = {
    "AP50",
    "AP50_95",
    "AP_by_size",
    "precision",
    "recall",
    "score_threshold",
    "count_mae",
    "count_bias",
    "seconds_per_image",
    "windows_per_image",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return save_dataset(tmp_path / "data")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return save_graph(tmp_path / "squares.onnx")


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["eval", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: object) -> str:
    """The error of a command that must fail as wrong input, which `main` prints on one line."""
    result = CliRunner().invoke(app, ["eval", *map(str, arguments)])
    assert isinstance(result.exception, InputError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_the_figures_of_all_strategies(weights: Path, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "eval.json"
    strategies = "whole,sliced,two-stage"
    out = run("--weights", weights, "--data", data, "--strategy", strategies, "--json", file)
    assert "AP50" in out
    assert "whole" in out
    figures = json.loads(file.read_text())
    assert (figures["weights"], figures["split"]) == ("squares.onnx", "test")
    assert (figures["images"], figures["objects"]) == (3, 4)
    assert list(figures["strategies"]) == strategies.split(",")
    for row in figures["strategies"].values():
        assert row.keys() >= KEYS
        assert row["score_threshold_from"] == "weights"
        assert list(row["AP_by_size"]) == ["2-8", "8-16", "16-32", "32-64", "64+"]
    assert figures["strategies"]["whole"]["AP50"] == pytest.approx(1)
    assert figures["strategies"]["whole"]["windows_per_image"] == 0
    assert len(figures["differences"]) == 3


def test_a_table_is_made_again_without_the_model(
    weights: Path,
    data: Path,
    tmp_path: Path,
) -> None:
    kept = tmp_path / "kept"
    common = ("--data", data, "--predictions", kept, "--calibrate", "val", "--json", "-")
    first = run("--weights", weights, *common)
    weights.unlink()
    assert run(*common) == first
    row = json.loads(first)["strategies"]["whole"]
    assert row["score_threshold_from"] == "val"
    assert (row["precision"], row["recall"]) == (1, 1)
    assert row["count_found"] == row["count_true"] == 4


def test_another_tools_predictions_are_scored(data: Path, tmp_path: Path) -> None:
    rows = [
        {"image_id": f"test{i}", "category_id": 0, "bbox": [4, 20, 16, 16], "score": 0.5}
        for i in range(3)
    ]
    other = tmp_path / "rival.json"
    other.write_text(json.dumps(rows))
    figures = json.loads(run("--data", data, "--predictions", other, "--json", "-"))
    row = figures["strategies"]["rival"]
    assert row["classes"]["red"]["AP50"] == pytest.approx(1)
    assert row["AP50"] == pytest.approx(0.5)
    assert row["seconds_per_image"] is None
    assert row["score_threshold_from"] == "this split"
    assert "flatters" in figures["notes"][0]


def test_galleries_are_written(weights: Path, data: Path, tmp_path: Path) -> None:
    run("--weights", weights, "--data", data, "--gallery", tmp_path / "sheets")
    assert [p.name for p in (tmp_path / "sheets").iterdir()] == ["whole.png"]


def test_wrong_input_is_named(weights: Path, data: Path, tmp_path: Path) -> None:
    given = ("--weights", weights, "--data", data)
    assert "no size bins 'visdrone'" in refused(*given, "--bins", "visdrone")
    assert "no strategy 'tiled'" in refused(*given, "--strategy", "whole,tiled")
    assert "at least one strategy" in refused(*given, "--strategy", "")
    assert "no size bins '32,16'" in refused(*given, "--bins", "32,16")
    assert "are of one flight" in refused(*given, "--flight", "folder")
    assert "no split 'holdout'" in refused(*given, "--split", "holdout")
    assert "has no labels" in refused(*given, "--split", "train")
    assert "use another" in refused(*given, "--calibrate", "test")
    assert "give --weights" in refused("--data", data)
    missing = tmp_path / "none.onnx"
    assert "none.onnx" in refused("--data", data, "--weights", missing)
    file = tmp_path / "file"
    file.write_text("")
    assert "cannot write" in refused(*given, "--json", file / "x.json")
    assert "cannot write" in refused(*given, "--gallery", file)


def test_an_error_is_one_line_and_status_two(data: Path) -> None:
    command = [sys.executable, "-c", "from deal_yolo.cli.main import main; main()"]
    result = subprocess.run(
        [*command, "eval", "--data", str(data)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
