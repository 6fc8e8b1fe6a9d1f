import copy
import json
from pathlib import Path

import pytest
import torch
from ultralytics.nn.tasks import DetectionModel

from deal_yolo.errors import ConfigError
from deal_yolo.model.network import DealModel, EndToEnd, build_model, model_config
from deal_yolo.model.summary import summarise
from tests.model.samples import batch, trainable, with_statistics


@pytest.mark.parametrize(
    ("name", "parameters", "fused"),
    [
        ("deal-yolo", 997_202, 994_114),
        ("deal-yolo-ld", 914_964, None),
        ("deal-yolo-edge", 681_964, None),
        ("yolov8n", 3_012_018, None),
    ],
)
def test_parameters_are_the_documented_ones(name: str, parameters: int, fused: int | None) -> None:
    summary = summarise(build_model(name, 6), imgsz=64)
    assert summary.parameters == parameters
    assert fused is None or summary.parameters_fused == fused


@pytest.mark.parametrize(
    ("name", "strides"),
    [("deal-yolo", [4, 8, 16]), ("deal-yolo-ld", [4, 8, 16]), ("deal-yolo-edge", [8, 16])],
)
@pytest.mark.parametrize("scale", ["n", "s", "m"])
def test_scales_build_and_run(name: str, strides: list[int], scale: str) -> None:
    model = build_model(f"{name}-{scale}", 3).eval()
    with torch.no_grad():
        boxes = model(torch.rand(1, 3, 64, 96))[0]
    assert boxes.shape == (1, 4 + 3, sum(64 // s * 96 // s for s in strides))
    assert model.stride.tolist() == strides


def test_our_yolov8_is_ultralytics_yolov8() -> None:
    ours = build_model("yolov8n", 7).eval()
    theirs = DetectionModel("yolov8n.yaml", nc=7, verbose=False).eval()
    own = {k: v for k, v in ours.state_dict().items() if k.startswith("model.")}
    theirs.load_state_dict(own)
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[0], theirs(x)[0])


def test_a_size_that_is_no_multiple_of_the_stride_is_refused() -> None:
    model = build_model("deal-yolo", 2).eval()
    with pytest.raises(ValueError, match="not a multiple of 16"):
        model(torch.zeros(1, 3, 64, 72))


@pytest.mark.parametrize("name", ["deal-yolo", "deal-yolo-ld", "deal-yolo-edge"])
def test_channels_last_changes_nothing(name: str) -> None:
    model = build_model(name, 2).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        plain = model(x)[0]
        model = model.to(memory_format=torch.channels_last)
        last = model(x.to(memory_format=torch.channels_last))[0]
    torch.testing.assert_close(last, plain, atol=1e-4, rtol=1e-4)


def test_training_step_in_channels_last() -> None:
    model = trainable(build_model("deal-yolo-ld", 2)).to(memory_format=torch.channels_last)
    loss, _ = model.loss(batch())
    loss.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", ["deal-yolo", "deal-yolo-ld", "deal-yolo-edge"])
def test_bfloat16_training_is_close_to_fp32(name: str) -> None:
    model = trainable(build_model(name, 2))
    plain, _ = copy.deepcopy(model).loss(batch())
    model.autocast_dtype = torch.bfloat16
    low, items = model.loss(batch())
    assert low.dtype == torch.float32  # the losses themselves
    torch.testing.assert_close(low, plain, rtol=0.03, atol=0.05)
    low.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert set(items) == {"box_loss", "cls_loss", "dfl_loss"}


def test_end_to_end_gives_the_best_anchors_as_corners() -> None:
    model = with_statistics(build_model("deal-yolo", 3))  # untrained, all scores are alike
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        cut = EndToEnd(model, max_detections=7)(x)
        full = model(x)[0].transpose(1, 2)
    assert cut.shape == (2, 7, 7)
    order = full[0, :, 4:].amax(1).argsort(descending=True)[:7]
    centre, size = full[0, order, :2], full[0, order, 2:4]
    torch.testing.assert_close(cut[0, :, :2], centre - size / 2)
    torch.testing.assert_close(cut[0, :, 2:4], centre + size / 2)
    torch.testing.assert_close(cut[0, :, 4:], full[0, order, 4:])
    with torch.no_grad():  # never more than there are anchors
        assert EndToEnd(model, 10_000)(x).shape[1] == full.shape[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": [[[-1], 1, "Detect", []]]}, "row 1"),
        ({"head": [[-1, 1, "Nonsense", [4]]]}, "unknown module 'Nonsense'"),
        ({"head": [[7, 1, "Conv", [4]], [-1, 1, "Detect", ["nc"]]]}, "not before it"),
        ({"head": [[[0, 0], 1, "Concat", [1]]]}, "the last row must be Detect"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"scale": "x"}, "no scale 'x'"),
        ({"nc": 0}, "nc must be a positive"),
        ({"head": None}, "'head' is missing"),
    ],
)
def test_wrong_yaml_is_named(tmp_path: Path, change: dict, message: str) -> None:
    config = {
        "nc": 2,
        "scales": {"n": [1, 1, 64]},
        "backbone": [[-1, 1, "Conv", [8, 3, 2]]],
        "head": [[[0], 1, "Detect", ["nc"]]],
        **change,
    }
    path = tmp_path / "model.yaml"
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=message):
        DealModel(model_config(path))


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="deal-yolo-edge, deal-yolo-ld, deal-yolo-plain"):
        build_model("deal-yolo-xxl")
