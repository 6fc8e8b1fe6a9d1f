import importlib.util
import json
import shlex

import cv2
import numpy as np
import pytest

from deal_yolo.cli.main import run
from tests.export.weights import save_lively

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt") is not None, reason="tells what happens without TensorRT"
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_lively("deal-yolo", tmp_path_factory.mktemp("w") / "w.safetensors", 64)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    cv2.imwrite(str(folder / "a.png"), pixels)
    return folder


def export(*arguments) -> int:
    return run(["export", *map(str, arguments)])


def test_onnx_is_written_and_checked(weights, photos, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    status = export(
        "--weights", weights, "--out", out, "--check", photos, "--max-detections", 400, "--json"
    )
    values = json.loads(capsys.readouterr().out)
    assert status == 0
    assert values["files"] == [str(out)]
    assert values["check"]["images"] == 2
    assert values["check"]["box_px"] < 0.5
    assert values["trtexec"] is None


def test_without_tensorrt_the_line_that_builds_the_engine_is_printed(weights, tmp_path, capsys):
    out = tmp_path / "m.engine"
    assert export("--weights", weights, "--format", "tensorrt", "--out", out, "--half") == 0
    printed = capsys.readouterr().out
    assert "TensorRT is not installed here" in printed
    words = shlex.split(printed.splitlines()[-1])
    assert words[:3] == ["trtexec", "--onnx=m.onnx", "--saveEngine=m.engine"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.engine.json", "m.onnx"]


def test_a_photo_with_more_objects_than_boxes_fails_the_check(weights, photos, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    arguments = ("--weights", weights, "--out", out, "--check", photos, "--max-detections", 3)
    assert export(*arguments) == 1
    assert "more than 3 boxes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--imgsz", 100), "multiple of 16"),
        (("--batch", 2), "takes any batch"),
        (("--out", "x.engine"), "ends in .onnx"),
        (("--out", "missing/x.onnx"), "no folder missing"),
        (("--check", "nowhere"), "nowhere"),
        (("--format", "tensorrt", "--max-detections", 4000), "at most 3839"),
        (("--format", "coreml"), "coreml"),
    ],
)
def test_wrong_settings_are_one_line_and_status_2(weights, capsys, arguments, message):
    assert export("--weights", weights, *arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_an_onnx_file_is_not_exported_again(tmp_path, capsys):
    assert export("--weights", tmp_path / "a.onnx") == 2
    assert "only .safetensors" in capsys.readouterr().err
