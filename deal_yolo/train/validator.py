"""Ultralytics' validator, without its limit on time."""

from __future__ import annotations

from torch import Tensor
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils.nms import non_max_suppression


class Validator(DetectionValidator):
    """Ultralytics' validator, whose figures do not depend on how busy the machine is.

    Its own gives up on a batch after about two seconds and counts the images left as empty.
    """

    def postprocess(self, preds: Tensor) -> list[dict[str, Tensor]]:
        """Non-maximum suppression with ultralytics' own settings, over every image.

        Args:
            preds: ``(b, 4 + nc, anchors)``, or a tuple that starts with it.

        Returns:
            For each image ``bboxes`` ``(n, 4)`` left, top, right, bottom in px of the input,
            ``conf``, ``cls`` and ``extra``.
        """
        outputs = non_max_suppression(
            preds,
            self.args.conf,
            self.args.iou,
            multi_label=True,
            agnostic=self.args.single_cls or self.args.agnostic_nms,
            max_det=self.args.max_det,
            max_time_img=float("inf"),
        )
        return [
            {"bboxes": x[:, :4], "conf": x[:, 4], "cls": x[:, 5], "extra": x[:, 6:]}
            for x in outputs
        ]
