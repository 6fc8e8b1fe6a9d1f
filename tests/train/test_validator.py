import itertools
from types import SimpleNamespace

import pytest
import torch
from ultralytics.utils import nms

from deal_yolo.train.validator import Validator


def test_a_slow_machine_costs_no_image_its_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    validator = Validator(args={"conf": 0.001, "iou": 0.7, "max_det": 1000})
    hours = itertools.count(0, 3600)
    monkeypatch.setattr(nms, "time", SimpleNamespace(time=lambda: float(next(hours))))
    one = torch.tensor([32.0, 32, 10, 10, 0.9, 0.1]).view(1, 6, 1)
    found = validator.postprocess(one.repeat(3, 1, 1))
    assert [len(f["bboxes"]) for f in found] == [2, 2, 2]  # both classes: multi_label
    assert found[0]["bboxes"][0].tolist() == [27, 27, 37, 37]
