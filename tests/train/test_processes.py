"""Training in two processes is training in one with the whole batch."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from deal_yolo.errors import DealYoloError
from deal_yolo.model.network import DealModel, build_model
from deal_yolo.train import engine
from deal_yolo.train.engine import DealTrainer, overrides
from deal_yolo.train.launch import launch
from deal_yolo.train.run import Request, prepare
from tests.model.samples import trainable
from tests.train.test_run import CONFIG, figures

pytestmark = pytest.mark.filterwarnings("default")

OBJECTS = {
    "both halves": [0.0, 0, 1, 2, 3],
    "one half only": [0.0, 0, 0, 1, 1],  # the second process sees no object
}


def whole_batch(owners: list[float]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "img": torch.rand(4, 3, 64, 64, generator=generator),
        "batch_idx": torch.tensor(owners),
        "cls": torch.tensor([[0.0], [1], [1], [0], [1]]),
        "bboxes": torch.rand(5, 4, generator=generator) * 0.3 + 0.3,
    }


def half_of(batch: dict[str, Tensor], rank: int) -> dict[str, Tensor]:
    owners = batch["batch_idx"]
    own = (owners >= 2 * rank) & (owners < 2 * rank + 2)
    return {
        "img": batch["img"][2 * rank : 2 * rank + 2],
        "batch_idx": owners[own] - 2 * rank,
        "cls": batch["cls"][own],
        "bboxes": batch["bboxes"][own],
    }


def prepared() -> DealModel:
    """With batch norms in eval mode, since their statistics are those of one process."""
    torch.manual_seed(0)
    model = trainable(build_model("deal-yolo-ld", 2))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


def step(model: nn.Module, batch: dict[str, Tensor], processes: int) -> dict[str, Any]:
    """As ultralytics' trainer takes a step, up to the gradients."""
    losses, items = model(batch)
    (losses.sum() * processes).backward()
    inner: Any = getattr(model, "module", model)
    gradients = {n: p.grad.clone() for n, p in inner.named_parameters() if p.grad is not None}
    mean = inner.box_loss.wiou.running_mean.clone()
    return {"loss": losses.detach().sum(), "items": items, "gradients": gradients, "mean": mean}


def process(rank: int, folder: str, owners: list[float]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    model = nn.parallel.DistributedDataParallel(prepared(), find_unused_parameters=True)
    result = step(model, half_of(whole_batch(owners), rank), 2)
    torch.save(result, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTS)
def test_loss_and_gradients_are_those_of_one_process(name: str, tmp_path: Path) -> None:
    multiprocessing.spawn(process, (str(tmp_path), OBJECTS[name]), nprocs=2)
    one = step(prepared(), whole_batch(OBJECTS[name]), 1)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))

    torch.testing.assert_close(first["loss"] + second["loss"], one["loss"])
    for key, value in one["items"].items():
        torch.testing.assert_close((first["items"][key] + second["items"][key]) / 2, value)
    assert first["mean"] == second["mean"] != 1
    torch.testing.assert_close(first["mean"], one["mean"])
    assert one["gradients"].keys() == first["gradients"].keys()
    for key, value in one["gradients"].items():
        assert torch.equal(first["gradients"][key], second["gradients"][key])
        torch.testing.assert_close(first["gradients"][key], value, rtol=1e-3, atol=1e-5, msg=key)


@pytest.mark.slow
def test_the_trainer_runs_in_two_processes_and_resumes(data: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, epochs=2)
    run = prepare(Request("deal-yolo", str(data), tmp_path / "run", config, "cpu"))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    script = ["--nproc-per-node", "2", "-m", "tests.train.two_processes", str(run.out)]
    root = Path(__file__).parents[2]
    subprocess.run([*torchrun, *script], cwd=root, check=True, timeout=300)

    first, second = (torch.load(run.out / f"rank{rank}.pt") for rank in (0, 1))
    assert first["images"] == second["images"] == 6  # half of the twelve each
    assert first["mean"] == second["mean"] != 1
    assert first["nwd_constant"] == second["nwd_constant"] == pytest.approx(12, abs=0.1)
    assert torch.equal(first["parameters"], second["parameters"])
    assert [row["epoch"] for row in figures(run.out)] == ["1", "2"]
    assert run.best.is_file()

    # Killed after the first epoch, it goes on.
    state = torch.load(run.last, weights_only=True)
    torch.save({**state, "epoch": 0}, run.last)
    subprocess.run([*torchrun, *script, "--resume"], cwd=root, check=True, timeout=300)
    assert [row["epoch"] for row in figures(run.out)] == ["1", "2"]


def test_with_several_devices_the_run_is_launched_from_its_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepare(Request("deal-yolo", str(data), tmp_path / "run", CONFIG, "cpu"))
    trainer = DealTrainer(overrides=overrides(run, resume=False))
    trainer.ddp, trainer.world_size = True, 2
    calls: list[Any] = []
    monkeypatch.setattr(engine, "launch", lambda *args: calls.append(args))
    trainer.train()
    assert calls == [(run.out, 2, False)]
    assert (run.out / "run.json").is_file()  # ultralytics' own launch deletes the folder


@pytest.mark.slow
def test_a_failure_of_the_processes_is_told(tmp_path: Path) -> None:
    with pytest.raises(DealYoloError, match="1 processes failed"):
        launch(tmp_path / "no run", 1, resume=False)
