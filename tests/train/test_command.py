"""``deal-yolo train`` and ``val``, from a data YAML to checked files."""

import json
from pathlib import Path

import pytest

from deal_yolo.cli.main import run
from deal_yolo.infer.backends.base import load_backend
from deal_yolo.model.checkpoint import sha256

pytestmark = pytest.mark.filterwarnings("default")

RECIPE = """
epochs: 1
imgsz: 64
batch: 4
precision: fp32
ultralytics: {plots: false, mosaic: 0.0, nbs: 4, warmup_epochs: 0.0}
"""


def test_train_ends_with_weights_and_an_onnx_file_that_agree(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(RECIPE)
    data.write_text(data.read_text() + "tile: {size: 64, scales: [1.0], real: 0.0}\n")
    command = ["train", "--data", str(data), "--recipe", str(recipe), "--out", str(out)]
    assert run([*command, "--model", "deal-yolo-ld", "--device", "cpu"]) == 0
    assert "within" in capfd.readouterr().err.splitlines()[-1]
    backend = load_backend(out / "best.onnx")
    assert backend.metadata.sha256 == sha256(out / "best.safetensors")
    assert backend.metadata.names == ("odd", "even")

    assert run(command) == 2  # a run is not overwritten
    assert "add --resume" in capfd.readouterr().err
    assert run(["train", "--resume", "--out", str(out)]) == 2
    assert "has all of its 1 epochs" in capfd.readouterr().err

    weights = ["--weights", str(out / "best.safetensors")]
    assert run(["val", *weights, "--data", str(data), "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)
    assert rows[0]["name"] == "all" and (rows[0]["images"], rows[0]["objects"]) == (4, 4)

    data.write_text(data.read_text().replace("odd", "other"))
    assert run(["val", *weights, "--data", str(data)]) == 2
    assert "knows the classes odd, even" in capfd.readouterr().err


def test_pretrained_says_what_was_taken_over(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    from deal_yolo.model.network import build_model

    recipe, source = tmp_path / "recipe.yaml", tmp_path / "yolov8n.safetensors"
    recipe.write_text(RECIPE)
    save_file(build_model("yolov8n", 80).state_dict(), source)
    command = ["train", "--data", str(data), "--recipe", str(recipe), "--device", "cpu"]
    assert run([*command, "--out", str(tmp_path / "run"), "--pretrained", str(source)]) == 0
    assert "layers 0, 1, 2, 3, 4, 5, 6, 21 whole" in " ".join(capfd.readouterr().err.split())
