"""From the model's output to Detections."""

from __future__ import annotations

import numpy as np

from deal_yolo.boxes import area, nms
from deal_yolo.detections import Detections
from deal_yolo.infer.preprocess import FloatArray, Letterbox


def to_detections(
    output: FloatArray, box: Letterbox, conf: float, nms_iou: float, max_det: int
) -> Detections:
    """Objects of one image; each box has the class of its highest score.

    Args:
        output: ``(k, 4 + nc)`` boxes in px of the model's input, then class scores.
        box: how the image lies in that input.
        conf: least score.
        nms_iou: threshold of the suppression within a class.
        max_det: most objects.

    Returns:
        Boxes in px of the image, best first.
    """
    scores = output[:, 4:].max(axis=1)
    good = scores >= conf
    output, scores = output[good], scores[good]
    found = Detections(
        box.to_image(output[:, :4]), scores, output[:, 4:].argmax(axis=1).astype(np.int32)
    )
    # What lay in the padding alone has no area in the image.
    return suppress(found.select(area(found.xyxy) > 0), nms_iou, max_det)


def one_box_each(found: Detections, same: float = 0.7) -> Detections:
    """``found`` without boxes that lie on a better one of whatever class, best first.

    An animal between two classes has a box of each, which a precision-recall curve may keep but
    a count must not.

    Args:
        found: objects of an image.
        same: IoU from which on two boxes are one animal.
    """
    return found.select(nms(found.xyxy, found.score, np.zeros(len(found), np.int32), same))


def suppress(found: Detections, nms_iou: float, max_det: int) -> Detections:
    """``found`` without the duplicates, best first, at most ``max_det``."""
    keep = nms(found.xyxy, found.score, found.class_id, nms_iou)
    return found.select(np.asarray(keep[:max_det]))
