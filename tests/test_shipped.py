"""The weights, photos and documents that come with the project."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from deal_yolo.boxes import iou
from deal_yolo.cli.main import run
from deal_yolo.config import find_config
from deal_yolo.datasets.dataset import load_dataset
from deal_yolo.datasets.images import read_image
from deal_yolo.evaluate.protocol import Protocol, score
from deal_yolo.evaluate.resample import resample
from deal_yolo.evaluate.split import Split, load_split
from deal_yolo.infer.backends.base import load_backend
from deal_yolo.infer.detector import load_detector
from deal_yolo.infer.strategies import build_strategy
from deal_yolo.model.checkpoint import read_metadata, sha256

ROOT = Path(__file__).parent.parent
WEIGHTS = sorted((ROOT / "weights").glob("*.safetensors"))
ids = [path.stem for path in WEIGHTS]


@pytest.fixture(scope="module")
def sample() -> Split:
    return load_split(load_dataset(find_config("data", "sample")), "test")


def test_there_are_weights() -> None:
    assert WEIGHTS


@pytest.mark.parametrize("weights", WEIGHTS, ids=ids)
def test_the_model_card_names_the_files_it_speaks_of(weights: Path) -> None:
    card = (ROOT / "weights" / "README.md").read_text()
    for path in (weights, weights.with_suffix(".onnx")):
        assert path.name in card and sha256(path) in card


@pytest.mark.parametrize("weights", WEIGHTS, ids=ids)
def test_the_onnx_file_was_made_from_these_weights(weights: Path) -> None:
    made, own = load_backend(weights.with_suffix(".onnx")).metadata, read_metadata(weights)
    assert made.sha256 == sha256(weights)
    assert (made.names, made.refine, made.score_threshold) == (
        own.names,
        own.refine,
        own.score_threshold,
    )
    assert own.training["calibration"]["split"] == "val"


@pytest.mark.parametrize("weights", WEIGHTS, ids=ids)
@pytest.mark.parametrize("strategy", ["whole", "two-stage"])
def test_torch_and_onnx_find_the_same_animals(weights: Path, strategy: str, sample: Split) -> None:
    images = [read_image(path) for path in sample.images[:2]]
    looks = []
    for path in (weights, weights.with_suffix(".onnx")):
        detector = load_detector(path)
        looks.append(build_strategy(strategy, detector, None, None)(images))
    for torch_found, onnx_found in zip(*looks, strict=True):
        # Of boxes at the very edge of a decision one file may keep the other's neighbour.
        clear = [f.select(f.score >= 0.05) for f in (torch_found, onnx_found)]
        assert len(clear[0]) > 5
        for one, other in (clear, clear[::-1]):
            all_other = torch_found if other is clear[0] else onnx_found
            overlap = iou(one.xyxy, all_other.xyxy)
            overlap[one.class_id[:, None] != all_other.class_id[None, :]] = 0
            partner = overlap.argmax(axis=1)
            assert np.abs(one.xyxy - all_other.xyxy[partner]).max() < 0.5
            assert np.abs(one.score - all_other.score[partner]).max() < 0.01


@pytest.mark.parametrize("weights", WEIGHTS, ids=ids)
def test_seals_are_found_in_the_sample_and_the_second_look_helps(
    weights: Path, sample: Split
) -> None:
    detector = load_detector(weights.with_suffix(".onnx"))
    images = [read_image(path) for path in sample.images]
    protocol = Protocol(sample.dataset.names, detector.metadata.score_threshold)
    ap50 = {}
    for name in ("whole", "two-stage"):
        found = build_strategy(name, detector, None, None)(images)
        ap50[name] = score(sample.labels, found, protocol, resample(len(found), 0)).AP50.value
    assert ap50["two-stage"] > 0.4
    assert ap50["two-stage"] >= ap50["whole"]


def test_the_sample_is_small_and_labelled(sample: Split) -> None:
    folder = ROOT / "data" / "sample"
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < 8 * 2**20
    assert len(sample.images) >= 3 and sample.objects > 50
    assert "MIT" in (folder / "LICENSE").read_text()


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(document: Path) -> list[str]:
    blocks = re.findall(r"```(?:bash|sh|console)?\n(.*?)```", document.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("deal-yolo ")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_documented_options_exist(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in commands(document):
        words = shlex.split(line, comments=True)[1:]
        path = words[:2] if words[0] == "data" else words[:1]
        assert run([*path, "--help"]) == 0, line
        known = set(re.findall(r"(?<!\S)--[a-z0-9-]+", capsys.readouterr().out))
        used = {w.partition("=")[0] for w in words if w.startswith("--")}
        assert used <= known, line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target
