"""Untrained weights whose boxes and scores differ from anchor to anchor, as trained ones' do."""

from pathlib import Path

import torch
from torch import Tensor, nn

from deal_yolo.metadata import Metadata
from deal_yolo.model.blocks import LDConv
from deal_yolo.model.checkpoint import save_model
from deal_yolo.model.network import DealModel, build_model

NAMES = ("pup", "cow", "bull", "other")


def pictures(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Noise with bright spots, ``(b, 3, h, w)`` in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, height // 16, width // 16, generator=generator)
    image = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (image + 0.2 * torch.rand(batch, 3, height, width, generator=generator)).clamp(0, 1)


@torch.no_grad()
def lively_model(name: str, size: int = 256, nc: int = len(NAMES), seed: int = 0) -> DealModel:
    """A model with measured, then disturbed, batch-norm statistics and offsets that move."""
    torch.manual_seed(seed)
    model = build_model(name, nc)
    for layer in model.modules():
        if isinstance(layer, LDConv):
            layer.offset.weight.normal_(0, 0.01)
            layer.offset.bias.normal_(0, 0.5)
    model.train()
    for step in range(8):
        _momentum(model, 1 / (step + 1))
        model(pictures(2, size, size, seed + step))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.uniform_(0.7, 1.3)
            layer.bias.normal_(0, 0.2)
    head = model.eval().model[-1]
    raw = model(pictures(2, size, size, seed + 100))[1]
    spread = raw["scores"].std()
    for branch in head.cv3:
        branch[-1].weight.mul_(1.5 / spread)
        branch[-1].bias.fill_(-2)
    spread = raw["boxes"].std()
    for branch in head.cv2:
        branch[-1].weight.mul_(2 / spread)
    return model


def _momentum(model: nn.Module, value: float) -> None:
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = value


def save_lively(name: str, path: Path, imgsz: int = 256, seed: int = 0) -> Path:
    """Such a model as a weights file."""
    model = lively_model(name, imgsz, seed=seed)
    config = {key: value for key, value in model.yaml.items() if key != "transfer"}
    strides = tuple(int(s) for s in model.stride)
    save_model(model, Metadata(names=NAMES, imgsz=imgsz, strides=strides, model=config), path)
    return path
