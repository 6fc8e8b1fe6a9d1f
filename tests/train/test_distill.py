import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from deal_yolo.errors import WeightsError
from deal_yolo.metadata import Metadata
from deal_yolo.model.checkpoint import load_model, read_metadata, save_model
from deal_yolo.model.loss import DetectionLoss
from deal_yolo.model.network import DealModel, build_model, model_config
from deal_yolo.train.distill import DistilledLoss, boxes, load_teacher
from deal_yolo.train.run import Request, prepare, train
from tests.model.samples import batch, trainable, with_statistics
from tests.train.test_run import CONFIG, figures


@pytest.fixture()
def teacher() -> DealModel:
    torch.manual_seed(1)
    model = build_model("deal-yolo", 2)
    with_statistics(model)
    for branch in model.model[-1].cv3:
        branch[-1].bias.data += 10  # unsure of nothing
    return model.requires_grad_(False)


def saved(path: Path, model: DealModel, names: tuple[str, ...] = ("odd", "even")) -> Path:
    strides = tuple(int(s) for s in model.stride)
    save_model(model, Metadata(names, 64, strides, model.yaml), path)
    return path


def test_boxes_are_those_of_inference(teacher: DealModel) -> None:
    with torch.no_grad():
        decoded, maps = teacher(batch()["img"])
    found = boxes(teacher.model[-1], maps, teacher.stride)
    centre, size = decoded[:, :2].transpose(1, 2), decoded[:, 2:4].transpose(1, 2)
    torch.testing.assert_close(found, torch.cat([centre - size / 2, centre + size / 2], 2))


def test_a_student_that_is_its_teacher_has_nothing_to_learn(teacher: DealModel) -> None:
    student = trainable(copy.deepcopy(teacher)).requires_grad_()
    loss = DistilledLoss(student, teacher, 1.0)
    maps = loss.look(batch()["img"])
    same = {"boxes": maps["boxes"], "scores": maps["scores"].clone().requires_grad_()}
    value = loss.distill(same | {"feats": maps["feats"]}, maps)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-4)
    assert same["scores"].grad.abs().max() < 1e-6  # their weight is the difference of scores


def test_learning_from_the_teacher_alone_leads_to_its_scores_and_boxes(teacher: DealModel) -> None:
    loss = DistilledLoss(trainable(build_model("deal-yolo", 2)), teacher, 1.0)
    maps = loss.look(batch()["img"])
    own = {k: torch.zeros_like(maps[k], requires_grad=True) for k in ("boxes", "scores")}
    preds = own | {"feats": maps["feats"]}
    optimizer = torch.optim.Adam(own.values(), 0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss.distill(preds, maps).backward()
        optimizer.step()
    sure = maps["scores"].sigmoid().amax(1) > 0.5
    assert sure.sum() > 20
    apart = (own["scores"].sigmoid() - maps["scores"].sigmoid()).abs()
    assert apart.mean() < 0.05
    head = teacher.model[-1]
    pixels = (boxes(head, preds, head.stride) - boxes(head, maps, head.stride)).abs()[sure]
    assert pixels.mean() < 1


def test_the_loss_of_the_labels_stays_as_it_is(teacher: DealModel) -> None:
    student = trainable(build_model("deal-yolo", 2)).eval()
    with torch.no_grad():
        preds = student(batch()["img"])
    labels, items = DetectionLoss(student)(preds, batch())
    both, more = DistilledLoss(student, teacher, 2.0)(preds, batch())
    once, _ = DistilledLoss(student, teacher, 1.0)(preds, batch())
    torch.testing.assert_close(both[:3], labels)
    torch.testing.assert_close(both[3], 2 * once[3])
    assert {k: v for k, v in more.items() if k != "distill_loss"} == items
    assert both[3] == pytest.approx(more["distill_loss"] * 2)  # times the batch size


def test_an_unsure_teacher_teaches_no_boxes(teacher: DealModel) -> None:
    for branch in teacher.model[-1].cv3:
        branch[-1].bias.data -= 30
    student = trainable(build_model("deal-yolo", 2))
    loss = DistilledLoss(student, teacher, 1.0)
    preds = student(batch()["img"])
    loss.distill(preds, loss.look(batch()["img"])).backward()
    assert all(p.grad.abs().max() == 0 for p in student.model[-1].cv2.parameters())


def test_a_teacher_that_does_not_fit_is_refused(teacher: DealModel, tmp_path: Path) -> None:
    path = saved(tmp_path / "teacher.safetensors", teacher)
    assert not any(p.requires_grad for p in load_teacher(path, ("odd", "even")).parameters())
    with pytest.raises(WeightsError, match="knows the classes odd, even; the data set has seal"):
        load_teacher(path, ("seal",))
    with pytest.raises(WeightsError, match="strides 4, 8, 16; this model has 32, 64"):
        student = trainable(build_model("yolov8n", 2))
        student.stride = torch.tensor([32.0, 64.0])
        DistilledLoss(student, teacher, 1.0)


def test_a_teacher_that_also_sees_twice_as_much_teaches_the_level_it_lacks() -> None:
    torch.manual_seed(1)
    teacher = with_statistics(build_model("yolov8n", 2)).requires_grad_(False)
    student = trainable(build_model("deal-yolo", 2))
    small = torch.rand(2, 3, 64, 64)
    large = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear")
    with torch.no_grad():
        (_, once), (decoded, twice) = teacher(small), teacher(large)
    loss = DistilledLoss(student, teacher, 1.0, zoom=2)
    maps = loss.look(small)
    assert loss.common.tolist() == [4, 8, 16]
    p2, p3_and_p4 = maps["scores"].split([256, 64 + 16], 2)
    torch.testing.assert_close(p2, twice["scores"][..., :256])  # its P3 of the larger image
    torch.testing.assert_close(p3_and_p4, once["scores"][..., :80])
    found = boxes(teacher.model[-1], maps, loss.common)[:, :256]  # px of what the student sees
    centre = (found[..., :2] + found[..., 2:]).transpose(1, 2) / 2
    torch.testing.assert_close(centre * 2, decoded[:, :2, :256], atol=1e-3, rtol=0)

    preds = student(small)
    preds["scores"].retain_grad()
    loss.distill(preds, maps).backward()
    taught = preds["scores"].grad.abs().sum((0, 1)) > 0
    assert all(level.any() for level in taught.split([256, 64, 16]))


def test_a_level_that_the_teacher_has_needs_no_second_view() -> None:
    teacher, student = build_model("yolov8n", 2), trainable(build_model("deal-yolo-edge", 2))
    assert [zoom for zoom, _ in DistilledLoss(student, teacher, 1.0, zoom=2).views] == [1]


def test_levels_that_only_one_has_are_left_out(teacher: DealModel) -> None:
    student = trainable(build_model("yolov8n", 2))
    loss = DistilledLoss(student, teacher, 1.0)
    preds = student(batch()["img"])
    for value in preds.values():
        for part in value if isinstance(value, list) else [value]:
            part.retain_grad()
    loss.distill(preds, loss.look(batch()["img"])).backward()
    taught = preds["scores"].grad.abs().sum((0, 1)) > 0
    p3, p4, p5 = taught.split([64, 16, 4])  # of 64 px
    assert p3.any() and p4.any() and not p5.any()


@pytest.mark.filterwarnings("default")
def test_a_run_with_a_teacher(teacher: DealModel, data: Path, tmp_path: Path) -> None:
    path = saved(tmp_path / "teacher.safetensors", teacher)
    config = dataclasses.replace(CONFIG, teacher=str(path))
    request = Request("deal-yolo-ld", str(data), tmp_path / "run", config, "cpu")
    best = train(prepare(request)).best
    assert all(float(row["train/distill_loss"]) > 0 for row in figures(tmp_path / "run"))
    model, metadata = load_model(best)
    assert metadata.training["teacher"] == "teacher.safetensors"
    assert model.yaml == model_config("deal-yolo-ld", 2) | {"nc": 2}
    assert "teacher" not in read_metadata(path).training
    state: dict[str, Any] = torch.load(tmp_path / "run/last.ckpt", weights_only=True)
    assert state["model"].keys() == model.state_dict().keys()  # the teacher is not in it

    other = dataclasses.replace(config, teacher=str(tmp_path / "none.safetensors"))
    with pytest.raises(WeightsError, match="none.safetensors"):
        prepare(dataclasses.replace(request, out=tmp_path / "other", config=other))
    assert not (tmp_path / "other").exists()
