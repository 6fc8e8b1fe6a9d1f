"""Our figures beside those of ultralytics' validator, from photos to mAP, on the same boxes."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deal_yolo.datasets.dataset import load_dataset
from deal_yolo.datasets.labels import Labels, format_rows, to_row
from deal_yolo.detections import Detections
from deal_yolo.evaluate.evaluation import Options, evaluate
from deal_yolo.evaluate.predictions import read_predictions
from deal_yolo.evaluate.split import Split, load_split
from tests.evaluate.made import NAMES, SIDE, many

torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics")
pytestmark = pytest.mark.filterwarnings("ignore")
IMGSZ, STEP, PHOTO = 320, 8, 500


def save_photos(root: Path, labels: list[Labels]) -> Path:
    """Even grey photos, the grey of each telling its number, with their labels."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number, one in enumerate(labels):
        grey = np.full((PHOTO, PHOTO, 3), STEP * number, np.uint8)
        cv2.imwrite(str(root / "images" / f"photo{number:02d}.png"), grey)
        pairs = zip(one.class_id, one.xyxy, strict=True)
        text = format_rows([to_row(c, box, SIDE, SIDE) for c, box in pairs])
        (root / "labels" / f"photo{number:02d}.txt").write_text(text)
    file = root / "data.yaml"
    names = dict(enumerate(NAMES))
    file.write_text(f"path: {root}\ntrain: images\nval: images\nnames: {names}\n")
    return file


def planted(found: list[Detections]) -> Any:
    """A model whose boxes are given for each photo, in the form of a trained one's."""
    from deal_yolo.model.network import DealModel, model_config

    class Planted(DealModel):
        def predict(self, x: Any, *_: Any, **__: Any) -> Any:
            middle = x[:, 0, x.shape[2] // 2, x.shape[3] // 2] * 255 / STEP
            pad = (x.shape[3] - IMGSZ) / 2
            most = max(map(len, found))
            output = torch.zeros(len(x), 4 + len(NAMES), most)
            numbers = middle.round().int().clamp(0, len(found) - 1)
            for row, number in zip(output, numbers, strict=True):
                one = found[number]
                corners = torch.from_numpy(one.xyxy.copy()) * IMGSZ / SIDE + pad
                row[:2, : len(one)] = ((corners[:, :2] + corners[:, 2:]) / 2).T
                row[2:4, : len(one)] = (corners[:, 2:] - corners[:, :2]).T
                row[4 + torch.from_numpy(one.class_id.copy()).long(), torch.arange(len(one))] = (
                    torch.from_numpy(one.score.copy())
                )
            return output, {}

    model = Planted(model_config("yolov8", len(NAMES)))
    model.names = dict(enumerate(NAMES))
    return model.eval()


def validated(model: Any, data: Path, folder: Path) -> tuple[Any, Path]:
    """Ultralytics' metrics at its own settings, and the file of its boxes."""
    from ultralytics.models.yolo.detect import DetectionValidator

    settings = {"data": str(data), "split": "val", "imgsz": IMGSZ, "batch": 4, "device": "cpu"}
    validator = DetectionValidator(
        save_dir=folder, args={**settings, "plots": False, "save_json": True, "verbose": False}
    )
    validator.eval_json = lambda stats: stats  # would score by pycocotools' rules instead
    validator(model=model)
    return validator.metrics.box, folder / "predictions.json"


def test_map_is_that_of_the_validator(tmp_path: Path) -> None:
    labels, found = many(1, photos=30)
    data = save_photos(tmp_path / "data", labels)
    theirs, file = validated(planted(found), data, tmp_path)
    split: Split = load_split(load_dataset(data), "val")
    made = read_predictions(file, split)
    assert 0.9 < sum(map(len, made.found)) / sum(map(len, found)) <= 1
    ours = evaluate(split, {"theirs": made}, Options(draws=0)).scores["theirs"]
    assert 0.2 < ours.AP50.value < 0.95
    assert ours.AP50.value == pytest.approx(theirs.map50, abs=0.005)
    assert ours.AP50_95.value == pytest.approx(theirs.map, abs=0.005)
