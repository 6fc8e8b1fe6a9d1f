"""Real training, made small: a few tiny pictures of bright squares."""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from deal_yolo.errors import ConfigError, DatasetError, OutputError, WeightsError
from deal_yolo.model.checkpoint import load_model
from deal_yolo.train.engine import DealTrainer
from deal_yolo.train.optim import ADDED
from deal_yolo.train.run import Request, prepare, train
from deal_yolo.train.settings import TrainConfig

# Warnings of libraries in the training loop, none of them ours to mend.
pytestmark = pytest.mark.filterwarnings("default")

CONFIG = TrainConfig(
    epochs=2,
    imgsz=64,
    batch=4,
    precision="fp32",
    ultralytics={"plots": False, "mosaic": 1.0, "close_mosaic": 1, "nbs": 4, "warmup_epochs": 0.0},
)


def test_training_gives_weights_that_load_and_know_their_classes(
    data: Path, tmp_path: Path
) -> None:
    result = train(prepare(Request("deal-yolo-ld", str(data), tmp_path / "run", CONFIG, "cpu")))
    model, metadata = load_model(result.best)
    assert metadata.names == ("odd", "even")
    assert metadata.imgsz == 64 and metadata.strides == (4, 8, 16)
    assert metadata.training["loss"] == {"iou": "wiou-v3", "nwd_weight": 0.5}
    assert metadata.training["nwd_constant"] == pytest.approx(12, abs=0.1)  # squares of 12 px
    assert model.box_loss.wiou.running_mean.item() != 1
    assert set(result.metrics) == {"precision(B)", "recall(B)", "mAP50(B)", "mAP50-95(B)"}
    assert not list((tmp_path / "run").rglob("*.pt"))  # nothing pickled


def test_a_run_is_not_overwritten_and_not_resumed_when_done(data: Path, tmp_path: Path) -> None:
    request = Request("deal-yolo", str(data), tmp_path / "run", CONFIG, "cpu")
    run = prepare(request)
    with pytest.raises(WeightsError, match="nothing to resume"):
        train(run, resume=True)
    assert prepare(request) == run  # nothing was trained, so nothing is lost
    run.last.touch()
    with pytest.raises(OutputError, match="--resume"):
        prepare(request)


@pytest.mark.parametrize(
    ("config", "device", "message"),
    [
        (TrainConfig(ultralytics={"no_such_setting": 1}), "cpu", "no_such_setting"),
        (TrainConfig(), "7", "device"),
    ],
)
def test_what_ultralytics_refuses_is_named(
    data: Path, tmp_path: Path, config: TrainConfig, device: str, message: str
) -> None:
    run = prepare(Request("deal-yolo", str(data), tmp_path / "run", config, device))
    with pytest.raises(ConfigError, match=message):
        train(run)


def test_wrong_data_is_refused_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    data.write_text("train: train/images\nnames: {0: odd, 1: even}\n")
    with pytest.raises(DatasetError, match="'val'"):
        prepare(Request("deal-yolo", str(data), tmp_path / "run", CONFIG))
    with pytest.raises(WeightsError, match="no weights file"):
        data.write_text("train: train/images\nval: val/images\nnames: {0: odd, 1: even}\n")
        prepare(Request("deal-yolo", str(data), tmp_path / "run", CONFIG, pretrained=Path("no.pt")))
    assert not (tmp_path / "run").exists()


SCRIPT = """
import sys
from pathlib import Path
from deal_yolo.train.engine import DealTrainer
from deal_yolo.train.optim import ADDED
from deal_yolo.train.run import Request, prepare, train
from deal_yolo.train.settings import Run, TrainConfig
from tests.train.test_run import CONFIG
import dataclasses
out, data, resume = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "resume"
config = dataclasses.replace(CONFIG, epochs=4)
run = Run.load(out) if resume else prepare(Request("deal-yolo", data, out, config, "cpu"))
train(run, resume)
"""


def start(out: Path, data: Path, how: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, str(out), str(data), how]
    null = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=null, stderr=null)


def figures(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k and k != "time"} for row in rows]


def test_after_kill_9_a_run_goes_on_and_has_the_same_curve(data: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(whole, data, "new").wait(timeout=240) == 0
    process = start(cut, data, "new")
    deadline = time.monotonic() + 240
    while not (cut / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = torch.load(cut / "last.ckpt", weights_only=True)["epoch"] + 1
    assert 1 <= done < 4
    assert start(cut, data, "resume").wait(timeout=240) == 0
    rows = figures(cut)
    assert [r["epoch"] for r in rows] == ["1", "2", "3", "4"]
    assert rows == figures(whole)


def test_the_moving_average_reaches_back_as_far_as_asked(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    step = DealTrainer.optimizer_step

    def noted(trainer: DealTrainer) -> None:
        step(trainer)
        seen.append(trainer.model.state_dict()["model.0.conv.weight"].clone())

    monkeypatch.setattr(DealTrainer, "optimizer_step", noted)
    for steps in (1, 100):
        seen.clear()
        config = dataclasses.replace(CONFIG, ema_steps=steps)
        run = prepare(Request("deal-yolo", str(data), tmp_path / str(steps), config, "cpu"))
        best = train(run).best
        average = torch.load(run.last, weights_only=True)["ema"]["model.0.conv.weight"]
        assert len(seen) == 6
        torch.testing.assert_close(average, torch.stack(seen[-steps:]).mean(0))
        assert load_model(best)[1].training["ema_steps"] == steps


@pytest.mark.parametrize("optimizer", ADDED)
def test_a_resumed_run_has_the_optimisers_state(
    optimizer: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(CONFIG, epochs=3, optimizer=optimizer)
    whole, cut = (
        prepare(Request("deal-yolo", str(data), tmp_path / name, config, "cpu"))
        for name in ("whole", "cut")
    )
    train(whole)
    save = DealTrainer.save_model

    def save_and_stop(trainer: DealTrainer) -> bool:
        save(trainer)
        raise KeyboardInterrupt

    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(DealTrainer, "save_model", save_and_stop)
        train(cut)
    train(cut, resume=True)
    rows = figures(cut.out)
    assert [r["epoch"] for r in rows] == ["1", "2", "3"]
    assert rows == figures(whole.out)
