import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from ultralytics.nn.tasks import DetectionModel

from deal_yolo.errors import WeightsError
from deal_yolo.metadata import KEY, Metadata
from deal_yolo.model.blocks import LDConv
from deal_yolo.model.checkpoint import load_model, load_tensors, read_metadata, save_model
from deal_yolo.model.loss import LossConfig
from deal_yolo.model.network import DealModel, build_model
from deal_yolo.model.transfer import sampled_kernel, transfer


def metadata(model: DealModel) -> Metadata:
    return Metadata(names=("a", "b"), imgsz=64, strides=(4, 8, 16), model=model.yaml)


@pytest.fixture()
def saved(tmp_path: Path) -> tuple[DealModel, Path]:
    model = build_model("deal-yolo", 2).eval()
    save_model(model, metadata(model), tmp_path / "w.safetensors")
    return model, tmp_path / "w.safetensors"


def test_a_model_comes_back_as_it_was(saved: tuple[DealModel, Path]) -> None:
    model, path = saved
    again, read = load_model(path)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(again(x)[0], model(x)[0], atol=0, rtol=0)
    assert read == metadata(model) == read_metadata(path)
    assert again.names == {0: "a", 1: "b"}
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing half-written left


def test_weights_trained_with_another_loss_load(tmp_path: Path) -> None:
    model = build_model("deal-yolo", 2, LossConfig(iou="ciou", nwd_weight=0)).eval()
    save_model(model, metadata(model), tmp_path / "w.safetensors")
    again, _ = load_model(tmp_path / "w.safetensors")
    assert again.state_dict()["model.0.conv.weight"].equal(
        model.state_dict()["model.0.conv.weight"]
    )


def test_weights_of_another_model_do_not_load(tmp_path: Path) -> None:
    model = build_model("deal-yolo", 2)
    other = build_model("deal-yolo-ld", 2)
    save_model(other, metadata(model), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="do not fit"):
        load_model(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a safetensors file"),
        (b"\xff" * 64, "header is too long"),
        (b"\x10\0\0\0\0\0\0\0not json at all!", "not a safetensors file"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load_model(path)


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot read"):
        load_model(tmp_path / "none.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(WeightsError, match="no deal_yolo metadata"):
        load_model(tmp_path / "foreign.safetensors")


def test_truncated_weights_are_named(saved: tuple[DealModel, Path]) -> None:
    _, path = saved
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="do not fit"):
        load_model(path)


def test_metadata_of_another_version_is_refused(saved: tuple[DealModel, Path]) -> None:
    model, path = saved
    values = metadata(model).to_strings()
    values[KEY] = json.dumps({**json.loads(values[KEY]), "format": 99})
    save_file(load_file(path), path, values)
    with pytest.raises(WeightsError, match="format 99"):
        load_model(path)


class Thief:
    def __reduce__(self) -> tuple:
        return print, ("stolen",)


def test_a_pickle_with_other_objects_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"model": {"w": torch.zeros(1)}, "x": Thief()}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match="print"):
        load_tensors(tmp_path / "evil.pt")
    assert "stolen" not in capsys.readouterr().out


def test_an_ultralytics_checkpoint_is_read_without_free_unpickling(tmp_path: Path) -> None:
    theirs = DetectionModel("yolov8n.yaml", nc=3, verbose=False)
    torch.save({"model": theirs, "ema": None, "epoch": 1}, tmp_path / "theirs.pt")
    tensors = load_tensors(tmp_path / "theirs.pt")
    torch.testing.assert_close(tensors["model.0.conv.weight"], theirs.model[0].conv.weight.data)
    torch.save(theirs.state_dict(), tmp_path / "state.pt")
    assert load_tensors(tmp_path / "state.pt").keys() == tensors.keys()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.pt", None, "no weights file"),
        ("w.bin", b"x", "must be .safetensors or .pt"),
        ("w.pt", b"not a checkpoint", "cannot read"),
        ("w.safetensors", b"x", "not a safetensors file"),
    ],
)
def test_weights_to_start_from_must_be_readable(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load_tensors(tmp_path / name)


def test_transfer_takes_the_layers_that_fit_and_says_which() -> None:
    theirs = DetectionModel("yolov8n.yaml", nc=80, verbose=False).state_dict()
    model = build_model("deal-yolo", 4)
    taken = transfer(model, theirs)
    own = model.state_dict()
    for ours, other in (("0", "0"), ("6.cv1", "6.cv1"), ("21", "16"), ("26.cv2.2.2", "22.cv2.1.2")):
        weight = "weight" if ours.startswith("26") else "conv.weight"
        torch.testing.assert_close(own[f"model.{ours}.{weight}"], theirs[f"model.{other}.{weight}"])
    assert not any(n.startswith(("model.7.", "model.24.", "model.26.cv3")) for n in taken.taken)
    assert set(taken.taken).isdisjoint(taken.left)
    summary = taken.summary(model)
    assert "layers 0, 1, 2, 3, 4, 5, 6, 21 whole" in summary and "12, 17, 20, 23, 26" in summary


def test_transfer_from_the_same_architecture_goes_by_name() -> None:
    source, model = build_model("deal-yolo", 4), build_model("deal-yolo", 9)
    taken = transfer(model, source.state_dict())
    assert "model.12.cv1.conv.weight" in taken.taken
    left = {n.rsplit(".", 1)[0] for n in taken.left}
    assert left == {f"model.26.cv3.{i}.2" for i in range(3)}  # the class scores themselves


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("points", [1, 3, 4, 5, 9])
def test_a_deformable_layer_starts_near_the_convolution(points: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(0)
    conv = torch.nn.Conv2d(3, 4, 3, stride, 1, bias=False)
    layer = LDConv(3, 4, points, stride)
    layer.bn, layer.act = torch.nn.Identity(), torch.nn.Identity()
    weight, bias = sampled_kernel(conv.weight.detach(), layer)
    layer.conv.weight.data, layer.offset.bias.data = weight, bias
    image = torch.rand(2, 3, 9, 9, generator=generator)
    flat = torch.ones_like(image) * image[:, :, :1, :1]
    inner = (..., slice(1, -1), slice(1, -1))  # the convolution pads with zeros
    with torch.no_grad():
        assert torch.allclose(layer(flat)[inner], conv(flat)[inner], atol=1e-5)
        if points == 9:
            assert torch.allclose(layer(image)[inner], conv(image)[inner], atol=1e-5)


def test_deformable_layers_take_over_the_convolutions_of_yolov8() -> None:
    model, theirs = build_model("deal-yolo-ld", 4), build_model("yolov8n", 80).state_dict()
    taken = transfer(model, theirs).taken
    for row in (1, 3, 5, 21):
        assert f"model.{row}.conv.weight" in taken and f"model.{row}.offset.bias" in taken
    assert model.model[1].offset.bias.tolist() == [-0.5, -0.5, 0, -0.5, 0, 0]


def test_transfer_of_nothing_is_an_error() -> None:
    with pytest.raises(WeightsError, match="no layer"):
        transfer(build_model("deal-yolo", 4), {"model.0.conv.weight": torch.zeros(1)})
