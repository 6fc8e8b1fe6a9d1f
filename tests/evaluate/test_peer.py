from pathlib import Path

import numpy as np
import pytest

from deal_yolo.errors import WeightsError

pytest.importorskip("ultralytics")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize("name", ["model.pt", "none.onnx"])
def test_pickled_or_missing_weights_are_refused(name: str, tmp_path: Path) -> None:
    from deal_yolo.evaluate.peer import Ultralytics

    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(WeightsError, match=name):
        Ultralytics(tmp_path / name)


def test_our_own_onnx_is_refused(weights: Path) -> None:
    from deal_yolo.evaluate.peer import Ultralytics

    with pytest.raises(WeightsError, match="give the .safetensors"):
        Ultralytics(weights)


def test_its_boxes_are_those_of_our_own_detector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a square photo both see the same pixels. Suppression is left out on both sides, because
    only one of them cuts boxes at the photo's border before it.
    """
    monkeypatch.setattr("deal_yolo.infer.backends.torch.MAX_DETECTIONS", 30_000)
    from deal_yolo.boxes import iou
    from deal_yolo.evaluate.peer import Ultralytics
    from deal_yolo.infer.backends.base import load_backend
    from deal_yolo.infer.detector import Detector
    from tests.export.weights import NAMES, pictures, save_lively

    weights = save_lively("deal-yolo", tmp_path / "lively.safetensors", imgsz=128)
    image = (pictures(1, 128, 128)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    peer = Ultralytics(weights)
    assert peer.names == NAMES
    assert peer.score_threshold == 0.25
    peer._predictor.args.iou = 1.0
    theirs = peer.look([image])[0].detections
    ours = Detector(load_backend(weights), nms_iou=1.0)([image])[0]
    assert len(ours) > 100
    overlap = iou(ours.xyxy, theirs.xyxy) * (ours.class_id[:, None] == theirs.class_id)
    assert overlap.max(axis=1).min() > 0.99
