import dataclasses

import cv2
import numpy as np
import onnx
import pytest

from deal_yolo.cli.main import run
from deal_yolo.errors import ConfigError, WeightsError
from deal_yolo.export import gate, quantize
from deal_yolo.export.onnx import export_onnx
from deal_yolo.export.quantize import PartCost, Quality, QuantizeReport
from deal_yolo.export.run import ExportConfig
from deal_yolo.infer.backends.base import load_backend
from tests.export.test_onnx import tensorrt_operators
from tests.export.weights import pictures, save_lively


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_lively("deal-yolo-ld", tmp_path_factory.mktemp("q") / "w.safetensors", 64)


@pytest.fixture(scope="module")
def file(weights):
    return export_onnx(weights, weights.with_suffix(".onnx"), max_detections=50)


INPUTS = [pictures(1, 64, 64, seed=n).numpy() for n in range(3)]


def test_every_convolution_belongs_to_one_part(file):
    parts = quantize.parts_of(file)
    assert set(parts) == set(quantize.PARTS)
    assert len(parts["LDConv offsets"]) == 7
    assert len(parts["class branch"]) == 9
    assert len(parts["box branch"]) == 3
    convolutions = [n.name for n in onnx.load(file).graph.node if n.op_type == "Conv"]
    assert sorted(sum(parts.values(), [])) == sorted(convolutions)


def test_parts_that_lose_too_much_stay_and_zero_is_the_middle(file, tmp_path):
    given = iter([50, 50, 49, 49.9, 50, 48, 50, 49.5])  # before, six parts, after
    out = tmp_path / "q.onnx"
    report = quantize.quantize(file, out, INPUTS, lambda _: Quality(next(given), None))
    kept = {p.part for p in report.parts if p.kept}
    assert kept == {"class branch", "backbone"}
    assert report.after.ap50 == 49.5
    graph = onnx.load(out)
    assert {n.op_type for n in graph.graph.node} <= tensorrt_operators()
    producers = {o: n for n in graph.graph.node for o in n.output}
    parts = quantize.parts_of(file)
    for node in graph.graph.node:
        if node.op_type == "Conv":
            source = producers.get(node.input[1])
            quantized = source is not None and source.op_type == "DequantizeLinear"
            part = next(p for p, names in parts.items() if node.name in names)
            assert quantized == (part not in kept)
    for value in graph.graph.initializer:
        if value.name.endswith("_zero_point"):
            assert not onnx.numpy_helper.to_array(value).any()


def test_an_int8_file_runs_with_its_metadata(file, tmp_path):
    out = tmp_path / "q.onnx"
    ranges = quantize.measure_ranges(file, INPUTS)
    quantize.write_qdq(file, out, ranges, quantize.parts_of(file)["backbone"])
    backend = load_backend(out)
    assert backend.metadata == load_backend(file).metadata
    assert backend(INPUTS[0]).shape == (1, 50, 8)


def test_parts_stay_one_by_one_until_what_is_left_is_good_enough(file, tmp_path):
    # Before, six parts of which each loses too much, then all, five and four of them.
    given = iter([50, 49.5, 49.4, 49.3, 49.2, 48, 47, 45, 48.9, 49.1])
    out = tmp_path / "q.onnx"
    report = quantize.quantize(file, out, INPUTS, lambda _: Quality(next(given), None))
    assert [part.part for part in report.parts if part.kept] == ["backbone", "neck"]
    assert report.after.ap50 == 49.1 and report.refusal() is None


def test_a_file_of_one_part_that_loses_too_much_is_refused(file, tmp_path):
    given = iter([50, 49, 48, 47, 46, 45, 44, *[40] * 6])
    out = tmp_path / "q.onnx"
    report = quantize.quantize(file, out, INPUTS, lambda _: Quality(next(given), None))
    assert [part.part for part in report.parts if not part.kept] == ["LDConv offsets"]
    assert "INT8 loses 10.0 points" in report.refusal()
    assert next(given, None) is None
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(out).graph.node}


@pytest.mark.parametrize(
    ("after", "refused"),
    [
        (Quality(49.1, 20), False),
        (Quality(48.9, 20), True),
        (Quality(50, 17.9), True),
        (Quality(50, None), False),
    ],
)
def test_the_gate_is_one_point_of_ap50_and_two_of_small_objects(after, refused):
    part = PartCost("neck", 35, Quality(49.5, None), False)
    refusal = QuantizeReport(Quality(50, 20), after, (part,)).refusal()
    assert (refusal is not None) == refused
    if refusal:
        assert "--accept-loss" in refusal


@pytest.fixture
def data(tmp_path):
    for split in ("train", "val"):
        for folder in ("images", "labels"):
            (tmp_path / folder / split).mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "images" / split / "a.png"), pixels)
        (tmp_path / "labels" / split / "a.txt").write_text("0 0.5 0.5 0.3 0.3\n")
    yaml = tmp_path / "data.yaml"
    yaml.write_text(
        f"path: {tmp_path}\ntrain: images/train\nval: images/val\nnames: [pup, cow, bull, other]\n"
    )
    return yaml


def test_a_refused_file_is_not_written_unless_the_loss_is_accepted(
    file, data, tmp_path, monkeypatch
):
    def scored(path, split, progress):
        assert len(split.images) == 1
        return Quality(10.0 if path.name == "q.part.onnx" else 50.0, None)

    monkeypatch.setattr(gate, "score_of", scored)
    out = tmp_path / "q.onnx"
    with pytest.raises(WeightsError, match=r"loses 40\.0 points"):
        gate.quantize_gated(file, out, str(data), False, lambda photos, _: photos)
    assert not list(tmp_path.glob("q.*"))
    report = gate.quantize_gated(file, out, str(data), True, lambda photos, _: photos)
    assert report.after.ap50 == 10
    assert out.is_file()


def test_a_file_is_scored_on_its_photos(file, data):
    split = gate.load_split(gate.load_dataset(data), "val")
    quality = gate.score_of(file, split, lambda photos, _: photos)
    assert 0 <= quality.ap50 <= 100


def test_the_command_scores_and_writes_an_int8_file(weights, data, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    arguments = ["export", "--weights", str(weights), "--int8", "--calib", str(data)]
    arguments += ["--out", str(out), "--max-detections", "50", "--accept-loss"]
    assert run(arguments) == 0
    assert "LDConv offsets" in capsys.readouterr().out
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(out).graph.node}


def test_a_refusal_prints_the_table_and_ends_with_status_2(
    weights, data, tmp_path, capsys, monkeypatch
):
    scores = iter([50.0] * 7 + [10.0] * 6)
    monkeypatch.setattr(gate, "score_of", lambda *_: Quality(next(scores), None))
    out = tmp_path / "m.onnx"
    arguments = ["export", "--weights", str(weights), "--int8", "--calib", str(data), "--json"]
    assert run([*arguments, "--out", str(out), "--max-detections", "50"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "LDConv offsets" in printed.err
    assert printed.err.splitlines()[-1].startswith("error: INT8 loses 40.0 points of AP50")
    assert not out.exists()


def test_a_missing_data_set_is_told_before_the_work(weights, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    arguments = ["export", "--weights", str(weights), "--int8", "--calib", "no.yaml"]
    assert run([*arguments, "--out", str(out)]) == 2
    assert "no.yaml" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"int8": True},
        {"calib": "x"},
        {"int8": True, "calib": "x", "half": True},
        {"int8": True, "calib": "x", "dynamic": False},
    ],
)
def test_int8_needs_data_and_excludes_what_it_cannot_go_with(weights, settings):
    with pytest.raises(ConfigError, match="--int8"):
        dataclasses.replace(ExportConfig(weights), **settings)
