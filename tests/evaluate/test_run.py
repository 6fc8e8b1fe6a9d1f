from pathlib import Path

import numpy as np
import pytest

from deal_yolo.config import SliceConfig
from deal_yolo.errors import InputError, WeightsError
from deal_yolo.evaluate.run import Runner, gather
from deal_yolo.evaluate.split import Split
from deal_yolo.evaluate.strategy import StrategyName
from deal_yolo.infer.detector import load_detector
from deal_yolo.infer.sliced import Sliced
from tests.infer.graph import metadata, save_graph

WHOLE = StrategyName.parse("whole")


def test_kept_predictions_are_not_made_again(weights: Path, split: Split, tmp_path: Path) -> None:
    seen: list[str] = []

    def progress(images, what):
        seen.append(what)
        return images

    runner = Runner(weights, folder=tmp_path / "kept", progress=progress)
    first = runner(WHOLE, split)
    again = runner(WHOLE, split)
    assert seen == ["whole, test"]
    without_model = Runner(None, folder=tmp_path / "kept")(WHOLE, split)
    for other in (again, without_model):
        assert other.seconds == first.seconds
        for a, b in zip(first.found, other.found, strict=True):
            np.testing.assert_array_equal(a.score, b.score)


def test_other_weights_or_settings_are_run_again(
    weights: Path, split: Split, tmp_path: Path
) -> None:
    runs: list[str] = []

    def run(file: Path, imgsz: int | None = None) -> None:
        def progress(images, what):
            runs.append(f"{file.stem} {imgsz}")
            return images

        Runner(file, imgsz, folder=tmp_path / "kept", progress=progress)(WHOLE, split)

    other = save_graph(tmp_path / "other.onnx", meta=metadata(imgsz=128))
    run(weights)
    run(weights, 128)
    run(other)
    run(other)
    assert runs == ["squares None", "squares 128", "other None"]


def test_neither_model_nor_kept_predictions(split: Split, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give --weights"):
        Runner(None, folder=tmp_path)(WHOLE, split)


def test_weights_of_other_classes_are_refused(split: Split, tmp_path: Path) -> None:
    other = save_graph(tmp_path / "other.onnx", meta=metadata(("cat", "dog")))
    with pytest.raises(WeightsError, match="knows the 2 classes cat, dog, but"):
        Runner(other)(WHOLE, split)


def test_gather_names_the_rows(weights: Path, split: Split, tmp_path: Path) -> None:
    (tmp_path / "rival.json").write_text("[]")
    runner = Runner(weights)
    assert list(gather([split], None, runner)[0]) == ["whole"]
    both = gather([split], "whole, sliced", runner, tmp_path / "rival.json")[0]
    assert list(both) == ["whole", "sliced", "rival"]
    assert list(gather([split], None, Runner(None), tmp_path / "rival.json")[0]) == ["rival"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_sahi_finds_what_sliced_finds(weights: Path) -> None:
    """Animals that no window cuts: SAHI keeps boxes of cut ones, `Sliced` does not."""
    pytest.importorskip("sahi")
    from deal_yolo.evaluate.sahi import Sahi

    image = np.zeros((160, 160, 3), np.uint8)
    for x, y in ((36, 4), (68, 36), (100, 132)):
        image[y : y + 16, x : x + 16, 2] = 220
    config = SliceConfig(window=64, window_imgsz=64, overlap=0.5, border=0)
    detector = load_detector(weights, conf=0.6)
    ours = Sliced(detector, config).look([image])[0]
    theirs = Sahi(detector, config).look([image])[0]
    assert len(ours.detections) == len(theirs.detections) == 3
    np.testing.assert_allclose(
        np.sort(ours.detections.xyxy, axis=0), np.sort(theirs.detections.xyxy, axis=0), atol=0.01
    )
    assert theirs.detections.class_id.tolist() == [0, 0, 0]
    assert sorted(map(tuple, ours.windows)) == sorted(map(tuple, theirs.windows))
