"""Our figures are those of two well-known scorers, on the same predictions."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deal_yolo.boxes import iou
from deal_yolo.datasets.labels import ANY_CLASS, Labels
from deal_yolo.detections import Detections
from deal_yolo.evaluate.matching import IOU_THRESHOLDS
from deal_yolo.evaluate.protocol import Protocol, score
from deal_yolo.evaluate.resample import resample
from tests.evaluate.made import NAMES, many


def coco_figures(
    labels: Sequence[Labels], found: Sequence[Detections], edges: Sequence[float]
) -> np.ndarray:
    """``(bins, 2)`` AP50 and AP50-95 of all sizes, then by size, by faster-coco-eval."""
    coco = pytest.importorskip("faster_coco_eval")
    truth: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, (one, boxes) in enumerate(zip(labels, found, strict=True)):
        for box, c, ignored in zip(one.xyxy, one.class_id, one.ignore, strict=True):
            for category in range(len(NAMES)) if c == ANY_CLASS else (int(c),):
                truth.append({**_coco(image, category, box), "iscrowd": int(ignored)})
        for box, c, s in zip(boxes.xyxy, boxes.class_id, boxes.score, strict=True):
            results.append({**_coco(image, int(c), box), "score": float(s)})
    for number, row in enumerate(truth):
        row["id"] = number + 1
    gt = coco.COCO(
        {
            "images": [{"id": i, "width": 2000, "height": 2000} for i in range(len(labels))],
            "annotations": truth,
            "categories": [{"id": i, "name": n} for i, n in enumerate(NAMES)],
        }
    )
    run = coco.COCOeval_faster(gt, gt.loadRes(results), "bbox", print_function=lambda *_: None)
    bounds = (0, *edges, 1e5)
    run.params.areaRng = [[0, 1e10]]
    run.params.areaRng += [[a**2, b**2] for a, b in zip(bounds, bounds[1:], strict=False)]
    run.params.areaRngLbl = [str(i) for i in range(len(run.params.areaRng))]
    run.params.maxDets = [1000]
    run.evaluate()
    run.accumulate()
    # (thresholds, recalls, classes, sizes); -1 where a class has no object.
    precision = np.ma.masked_less(np.asarray(run.eval["precision"])[..., 0], 0)
    both = [precision[0].mean(axis=(0, 1)), precision.mean(axis=(0, 1, 2))]
    return np.ma.stack(both, axis=1).filled(np.nan)


def _coco(image: int, category: int, box: np.ndarray) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(v) for v in box)
    size = [x2 - x1, y2 - y1]
    area = size[0] * size[1]
    return {"image_id": image, "category_id": category, "bbox": [x1, y1, *size], "area": area}


@pytest.mark.parametrize("bins", ["aitod", "coco"])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_ap_is_that_of_faster_coco_eval(seed: int, ignored: bool, bins: str) -> None:
    labels, found = many(seed, photos=10, ignored=ignored)
    protocol = Protocol(NAMES, 0.25, bins)
    ours = score(labels, found, protocol, resample(len(labels), 0))
    theirs = coco_figures(labels, found, protocol.edges)
    sized = zip(ours.AP50_by_size.values(), ours.AP_by_size.values(), strict=True)
    rows = [(ours.AP50.value, ours.AP50_95.value), *((a.value, b.value) for a, b in sized)]
    np.testing.assert_allclose(rows, theirs, atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("seed", range(4))
def test_map_is_near_that_of_ultralytics(seed: int) -> None:
    torch = pytest.importorskip("torch")
    validator = pytest.importorskip("ultralytics.engine.validator")
    metrics = pytest.importorskip("ultralytics.utils.metrics")
    labels, found = many(seed, photos=40)
    found = [d.select(np.argsort(-d.score, kind="stable")[:300]) for d in found]
    self = SimpleNamespace(iouv=torch.from_numpy(IOU_THRESHOLDS))
    right = [
        validator.BaseValidator.match_predictions(
            self,
            torch.from_numpy(boxes.class_id.copy()),
            torch.from_numpy(one.class_id.copy()),
            torch.from_numpy(iou(one.xyxy, boxes.xyxy)),
        ).numpy()
        for one, boxes in zip(labels, found, strict=True)
    ]
    ap = metrics.ap_per_class(
        np.concatenate(right),
        np.concatenate([d.score for d in found]),
        np.concatenate([d.class_id for d in found]),
        np.concatenate([one.class_id for one in labels]),
    )[5]
    ours = score(labels, found, Protocol(NAMES, 0.25), resample(len(labels), 0))
    assert ours.AP50.value == pytest.approx(ap[:, 0].mean(), abs=0.005)
    assert ours.AP50_95.value == pytest.approx(ap.mean(), abs=0.005)
