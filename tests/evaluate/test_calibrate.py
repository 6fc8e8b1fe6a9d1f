from dataclasses import replace
from pathlib import Path

import pytest

from deal_yolo.cli.main import run
from deal_yolo.config import RefineConfig
from deal_yolo.datasets.images import read_image
from deal_yolo.detections import Detections
from deal_yolo.evaluate.calibrate import (
    GAINS,
    WEIGHTS,
    WORTH,
    ZOOMS,
    calibrate,
    fit_first_weight,
)
from deal_yolo.evaluate.protocol import Protocol, best_f1_threshold, score
from deal_yolo.evaluate.resample import resample
from deal_yolo.evaluate.split import Split
from deal_yolo.infer.detector import load_detector
from deal_yolo.infer.refine import TwoStage
from deal_yolo.metadata import Metadata
from deal_yolo.model.checkpoint import load_model, read_metadata, save_model
from deal_yolo.model.network import build_model
from tests.infer.scene import detector as squares_detector
from tests.infer.scene import scene


def test_the_fitted_rule_is_the_best_of_those_tried(weights: Path, split: Split) -> None:
    detector = load_detector(weights)
    fitted = calibrate(detector, detector.metadata.refine, split)
    images = [read_image(path) for path in split.images]

    def ap50(weight: float) -> tuple[float, list]:
        found = TwoStage(detector, replace(fitted.refine, first_weight=weight))(images)
        scores = score(
            split.labels, found, Protocol(split.dataset.names, 0.5), resample(len(found), 0)
        )
        return scores.AP50.value, found

    best, found = ap50(fitted.refine.first_weight)
    assert fitted.ap50 == pytest.approx(best)
    assert best >= max(ap50(weight)[0] for weight in WEIGHTS) - 1e-6
    assert fitted.score_threshold == pytest.approx(best_f1_threshold(split.labels, found), abs=5e-4)


def test_the_windows_are_the_fewest_of_those_good_enough(weights: Path, split: Split) -> None:
    detector = load_detector(weights)
    refine = replace(detector.metadata.refine, first_imgsz=32, budget_ms=5)
    fitted = calibrate(detector, refine, split)
    assert fitted.refine.budget_ms == 5
    images = [read_image(path) for path in split.images]

    def trial(**changes: float) -> tuple[float, float]:
        looks = TwoStage(detector, replace(refine, budget_ms=None, **changes)).look(images)
        found = [look.detections for look in looks]
        protocol = Protocol(split.dataset.names, 0.5)
        ap50 = score(split.labels, found, protocol, resample(len(found), 0)).AP50.value
        return ap50, sum(len(look.windows) for look in looks) / len(looks)

    tried = [trial(window=round(64 * z), least_gain=g) for z in ZOOMS for g in GAINS]
    tried.append(trial(max_windows=0))
    assert fitted.ap50 >= fitted.ap50_whole
    assert fitted.ap50 >= max(ap50 for ap50, _ in tried) - WORTH - 1e-6
    good = [windows for ap50, windows in tried if ap50 >= max(a for a, _ in tried) - WORTH]
    assert fitted.windows == min(good)


def test_a_window_that_is_to_be_kept_is_kept(weights: Path, split: Split) -> None:
    rule = RefineConfig(first_imgsz=64, window=77)
    fitted = calibrate(load_detector(weights), rule, split, fit_window=False)
    assert fitted.refine.window == 77


def test_the_weight_is_the_one_that_scores_best() -> None:
    rule = RefineConfig(first_imgsz=None, window=128, window_imgsz=128, high=0.5)
    strategy = TwoStage(squares_detector(320), rule)
    sight = strategy.see([scene([(100, 100, 12), (900, 600, 12)], 1280, 960)])[0]
    empty = replace(sight, parts=tuple(Detections.empty() for _ in sight.parts))
    wanted = 0.35 * float(empty.first.score.min())

    def quality(found: list[Detections]) -> float:
        return -abs(float(found[0].score.min()) - wanted)

    assert fit_first_weight(strategy, [empty], quality).first_weight == pytest.approx(0.35)


def test_the_command_keeps_the_tensors_and_changes_the_metadata(data: Path, tmp_path: Path) -> None:
    names = ("pup", "cow", "bull")
    model = build_model("deal-yolo", len(names)).eval()
    before = Metadata(names=names, imgsz=64, strides=(4, 8, 16), model=model.yaml)
    path = tmp_path / "w.safetensors"
    save_model(model, before, path)
    command = ["calibrate", "--weights", str(path), "--data", str(data), "--split", "test"]
    assert run(command) == 0
    again, _ = load_model(path)
    for name, value in model.state_dict().items():
        assert value.equal(again.state_dict()[name])
    after = read_metadata(path)
    assert after.training["calibration"]["split"] == "test"
    assert (after.names, after.model) == (before.names, before.model)


def test_only_weights_that_can_be_written_anew_are_taken(
    weights: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["calibrate", "--weights", str(weights), "--data", str(data)]) == 2
    assert "give .safetensors" in capsys.readouterr().err
