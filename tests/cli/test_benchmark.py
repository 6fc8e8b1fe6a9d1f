import json

import pytest

from deal_yolo.cli.main import run
from deal_yolo.export.onnx import export_onnx
from tests.export.weights import save_lively


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("w")
    weights = save_lively("deal-yolo", folder / "w.safetensors", 64)
    return export_onnx(weights, folder / "w.onnx", max_detections=50)


def test_json_has_the_keys_of_the_contract_and_nothing_else_is_printed(file, capfd):
    status = run(
        ["benchmark", "--weights", f"{file},{file}", "--against", "yolov8n", "--threads", "1"]
        + ["--rounds", "2", "--json"]
    )
    values = json.loads(capfd.readouterr().out)
    assert status == 0
    assert {"device", "threads", "imgsz", "rows"} <= set(values)
    assert [row["name"] for row in values["rows"]] == ["w.onnx", "w.onnx", "yolov8n"]
    for row in values["rows"]:
        assert {"name", "backend", "median_ms", "min_ms", "ratio"} <= set(row)
        assert row["median_ms"] >= row["min_ms"] > 0
    assert values["rows"][0]["ratio"] == 1


def test_the_table_names_every_network(file, capsys):
    assert run(["benchmark", "--weights", str(file), "--rounds", "1"]) == 0
    assert "w.onnx" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--weights", "missing.onnx"), "missing.onnx"), (("--weights", ","), "at least one")],
)
def test_wrong_input_is_one_line_and_status_2(capsys, arguments, message):
    assert run(["benchmark", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert not captured.out
