import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deal_yolo.cli.main import app
from deal_yolo.config import from_mapping, load
from deal_yolo.errors import ConfigError, InputError, WeightsError
from deal_yolo.evaluate.compare import compare
from deal_yolo.evaluate.equal import unequal
from deal_yolo.evaluate.markdown import to_markdown
from deal_yolo.evaluate.plan import CompareConfig
from deal_yolo.evaluate.provenance import provenance
from tests.infer.graph import metadata, save_graph


class Never:
    """Tools of which none must be asked for anything."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} must not be called")


@pytest.fixture
def run(tmp_path: Path, data: Path, weights: Path) -> Path:
    other = save_graph(tmp_path / "other.onnx", meta=metadata(imgsz=128))
    rival = tmp_path / "rival.json"
    box = {"category_id": 0, "bbox": [4, 20, 16, 16], "score": 0.5}
    rival.write_text(json.dumps([{**box, "image_id": f"{s}0"} for s in ("test", "val")]))
    file = tmp_path / "run.yaml"
    file.write_text(
        f"""
data: {data}
calibrate: val
bootstrap: 50
rows:
  squares: {{weights: {weights}, strategies: "whole, two-stage:max_windows=2"}}
  other | squares: {{weights: {other}}}
  rival: {{predictions: {rival}}}
"""
    )
    return file


def test_models_and_tools_stand_in_one_table(run: Path, tmp_path: Path) -> None:
    result = compare(load(CompareConfig, run), tmp_path / "kept", Never())
    (table,) = result.tables
    assert list(table.entries) == [
        "squares, whole",
        "squares, two-stage:max_windows=2",
        "other | squares, whole",
        "rival",
    ]
    assert table.evaluation.scores["squares, whole"].AP50.value == pytest.approx(1)
    assert table.evaluation.threshold_from["rival"] == "val"
    assert any("64 (squares); 128 (other | squares)" in line for line in table.unequal)
    assert any(line.startswith("rival: predictions of another tool") for line in table.unequal)
    text = to_markdown(result, "title", provenance(["deal-yolo", "compare"]), [[], []])
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in rows[:6]}) == 1
    assert "other \\| squares" in text
    assert "`deal-yolo compare`" in text


def test_the_command_writes_table_plots_and_figures(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    result = CliRunner().invoke(app, ["compare", str(run), "--out", str(out)])
    assert result.exit_code == 0, result.output
    names = {path.name for path in out.iterdir()}
    assert {"run.md", "run.json", "run.yaml", "run-pr.png", "run-size.png"} <= names
    assert "run-seconds.png" in names
    assert "run-latency.png" not in names
    figures = json.loads((out / "run.json").read_text())
    assert figures["made"]["versions"]["deal-yolo"]
    (section,) = figures["sections"]
    assert set(section["rows"]) == set(section["strategies"])
    for name in names:
        assert not name.endswith(".png") or f"({name})" in (out / "run.md").read_text()
    assert "not equal" in result.output


@pytest.mark.parametrize(
    "row, message",
    [
        ({}, "one of weights, train and predictions"),
        ({"weights": "a", "predictions": "b"}, "one of weights, train and predictions"),
        ({"weights": "a", "strategies": "tiled"}, "no strategy 'tiled'"),
        ({"weights": " , "}, "weights names no file"),
        ({"weights": "a", "strategies": ""}, "name at least one strategy"),
        ({"train": {"model": "deal-yolo", "seeds": []}}, "at least one number"),
        ({"weight": "a"}, "unknown key 'weight'"),
        ({"train": {"epochs": 3}}, "key 'model' is missing"),
        ({"weights": "a", "against": "two"}, "names no row: 'two'"),
    ],
)
def test_wrong_rows_are_refused(row: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(CompareConfig, {"data": "d", "rows": {"one": row}}, "run.yaml")


def test_a_comparison_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        from_mapping(CompareConfig, {"data": "d", "rows": {}}, "run.yaml")


def test_missing_weights_are_named(tmp_path: Path, data: Path) -> None:
    row = {"weights": str(tmp_path / "none.onnx")}
    config = from_mapping(CompareConfig, {"data": str(data), "rows": {"one": row}}, "run")
    with pytest.raises(WeightsError, match=r"none.onnx"):
        compare(config, tmp_path / "kept", Never())
    with pytest.raises(InputError):
        config = from_mapping(CompareConfig, {"data": "nowhere.yaml", "rows": {"one": row}}, "run")
        compare(config, tmp_path / "kept", Never())


def test_what_is_equal_is_not_said() -> None:
    assert unequal({"a": {"epochs": 3, "seed": 0}, "b": {"epochs": 4, "seed": 0}}) == [
        "epochs: 3 (a); 4 (b)"
    ]
