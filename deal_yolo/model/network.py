"""Models from rows ``[from, repeats, module, args]``, as users of ultralytics write them."""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules import SPPF, C2f, Concat, Conv, Detect
from ultralytics.nn.tasks import BaseModel, DetectionModel
from ultralytics.utils.torch_utils import initialize_weights

from deal_yolo.config import find_config, read_yaml
from deal_yolo.errors import ConfigError
from deal_yolo.model import stock
from deal_yolo.model.blocks import SSFF, DetectLite, DetectV8, LDConv, Sum
from deal_yolo.model.loss import BoxLoss, DetectionLoss, LossConfig

KEYS = {"nc", "scale", "scales", "backbone", "head", "transfer"}
BLOCKS = {
    "Conv", "C2f", "SPPF", "LDConv", "SSFF", "Upsample", "Concat", "Sum", "Detect", "DetectLite",
}  # fmt: skip


def model_config(model: str | Path, nc: int | None = None) -> dict[str, Any]:
    """The content of a model's YAML file, with its scale chosen.

    Args:
        model: a YAML file, or a shipped name with an optional scale: ``deal-yolo``,
            ``deal-yolo-s``, ``deal-yolo-ld``, ``yolov8n``; or a YAML of ultralytics' own, such as
            ``yolo11n.yaml``, which need not be at hand.
        nc: number of classes; None keeps the file's.

    Raises:
        ConfigError: no such model, or its file is wrong.
    """
    name, scale = str(model), None
    if Path(name).suffix not in {".yaml", ".yml"}:
        found = re.fullmatch(r"(.*?(?<=\d)|.*)-?([nsm])", name)
        if found and not _is_shipped(name) and _is_shipped(found[1].rstrip("-")):
            name, scale = found[1].rstrip("-"), found[2]
    own = None if _is_shipped(name) else stock.find(name)
    if own:
        path, scale = own
    else:
        path = find_config("models", name)
    config = read_yaml(path)
    if own or (config.get("backbone") and config.get("head") and stock.is_stock(config, BLOCKS)):
        config = stock.plain(config, name)
    unknown = sorted(set(config) - KEYS)
    if unknown:
        raise ConfigError(
            f"{path}: unknown key '{unknown[0]}', known are {', '.join(sorted(KEYS))}"
        )
    for key in ("scales", "backbone", "head"):
        if not config.get(key):
            raise ConfigError(f"{path}: key '{key}' is missing")
    # As JSON, in the metadata of weights, has it.
    config["transfer"] = {str(k): str(v) for k, v in (config.get("transfer") or {}).items()}
    config["scale"] = scale or config.get("scale", "n")
    if config["scale"] not in config["scales"]:
        raise ConfigError(
            f"{path}: no scale '{config['scale']}' among {', '.join(config['scales'])}"
        )
    config["nc"] = nc if nc is not None else config.get("nc", 80)
    if not isinstance(config["nc"], int) or config["nc"] < 1:
        raise ConfigError(f"{path}: nc must be a positive whole number, not {config['nc']}")
    return config


def _is_shipped(name: str) -> bool:
    try:
        find_config("models", name)
    except ConfigError:
        return False
    return True


class DealModel(DetectionModel):
    """An ultralytics detection model built from our rows, with our loss.

    Input ``(b, 3, h, w)`` RGB in [0, 1], ``h`` and ``w`` multiples of the largest stride.
    In training it gives the raw maps of `Detect`; in eval ``(b, 4 + nc, anchors)``, boxes as
    centre and size in px of the input, with scores in [0, 1].

    Args:
        config: what `model_config` gives.
        loss: the box loss of training.

    Raises:
        ConfigError: a row cannot be built.
    """

    def __init__(self, config: dict[str, Any], loss: LossConfig | None = None) -> None:
        BaseModel.__init__(self)  # DetectionModel's own constructor knows only its own blocks
        self.yaml = copy.deepcopy(config)
        self.model, self.save = build_layers(config)
        self.names = {i: str(i) for i in range(config["nc"])}
        self.inplace = True
        self.loss_config = loss or LossConfig()
        self.box_loss = BoxLoss(self.loss_config, self.model[-1].reg_max)
        self.autocast_dtype: torch.dtype | None = None
        head = self.model[-1]
        head.stride = self.stride = self._measure_strides()
        head.bias_init()
        initialize_weights(self)

    def _measure_strides(self) -> Tensor:
        size = 256
        self.model.eval()  # leaves the batch statistics alone
        head = self.model[-1]
        head.training = True
        with torch.no_grad():
            maps = super().predict(torch.zeros(1, 3, size, size))["feats"]
        self.model.train()
        return torch.tensor([size / m.shape[-1] for m in maps])

    def predict(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run the network; see the class for shapes.

        Raises:
            ValueError: the size of ``x`` is not a multiple of the largest stride.
        """
        stride = int(self.stride.max())
        if not torch.jit.is_tracing() and (x.shape[2] % stride or x.shape[3] % stride):
            raise ValueError(f"input {tuple(x.shape[2:])} is not a multiple of {stride} px")
        return super().predict(x, *args, **kwargs)

    def loss(self, batch: dict[str, Any], preds: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The training loss of a batch; maps in low precision if asked for, losses in FP32."""
        if preds is None:
            image = batch["img"]
            dtype = self.autocast_dtype
            if dtype is None:
                preds = self.forward(image)
            else:
                with torch.autocast(image.device.type, dtype=dtype):
                    preds = self.forward(image)
        with torch.autocast(batch["img"].device.type, enabled=False):
            raw = preds[1] if isinstance(preds, tuple) else preds
            raw = {k: raw[k].float() for k in ("boxes", "scores")} | {"feats": raw["feats"]}
            return super().loss(batch, raw)

    def init_criterion(self) -> DetectionLoss:
        """The criterion that ultralytics' trainer asks for."""
        return DetectionLoss(self)

    def info(self, detailed: bool = False, verbose: bool = True, imgsz: int = 640) -> None:
        """Nothing: ``deal-yolo info`` prints a model's figures."""


def build_model(
    model: str | Path, nc: int | None = None, loss: LossConfig | None = None
) -> DealModel:
    """A new model by name or YAML file; see `model_config` and `DealModel`."""
    return DealModel(model_config(model, nc), loss)


def build_layers(config: dict[str, Any]) -> tuple[nn.Sequential, list[int]]:
    """Build the rows of a model.

    Args:
        config: what `model_config` gives.

    Returns:
        The layers, each with ``i`` (its row), ``f`` (rows it reads), ``type`` and ``np``
        (parameters) as ultralytics wants them, and the rows whose output is needed later.

    Raises:
        ConfigError: a row cannot be built; the message names it.
    """
    if stock.is_stock(config, BLOCKS):
        return stock.build(config)
    depth, width, most = config["scales"][config["scale"]]
    channels: list[int] = []
    layers: list[nn.Module] = []
    save: set[int] = set()
    for i, row in enumerate([*config["backbone"], *config["head"]]):
        try:
            source, repeats, name, args = row
            sources = [source] if isinstance(source, int) else list(source)
            if any(not -i <= s < i for s in sources) and i > 0:
                raise ValueError(f"reads a row that is not before it: {source}")
            inputs = [channels[s] if i else 3 for s in sources]
            repeats = max(round(repeats * depth), 1) if repeats > 1 else repeats
            args = [config["nc"] if a == "nc" else a for a in args]
            layer, out = _build_row(name, inputs, args, repeats, (width, most))
        except (ValueError, TypeError, IndexError, KeyError) as error:
            raise ConfigError(f"row {i} {row}: {error}") from error
        layer.i, layer.f, layer.type = i, source, name
        layer.np = sum(p.numel() for p in layer.parameters())
        save.update(s % i for s in sources if s != -1)
        layers.append(layer)
        channels.append(out)
    if not isinstance(layers[-1], Detect):
        raise ConfigError("the last row must be Detect")
    return nn.Sequential(*layers), sorted(save)


def _build_row(
    name: str, inputs: list[int], args: list[Any], repeats: int, scaling: tuple[float, float]
) -> tuple[nn.Module, int]:
    """One layer and its output channels."""
    width, most = scaling
    if name in {"Conv", "C2f", "SPPF", "LDConv", "SSFF"}:
        out = math.ceil(min(args[0], most) * width / 8) * 8
        rest = args[1:]
        if name == "C2f":
            return C2f(inputs[0], out, repeats, *rest), out
        if name == "SSFF":
            return SSFF(inputs, out, *rest), out
        block = {"Conv": Conv, "SPPF": SPPF, "LDConv": LDConv}[name]
        return block(inputs[0], out, *rest), out
    if name == "Upsample":
        return nn.Upsample(scale_factor=args[0], mode="nearest"), inputs[0]
    if name == "Concat":
        return Concat(*args), sum(inputs)
    if name == "Sum":
        if len(set(inputs)) > 1:
            raise ValueError(f"cannot sum maps of {inputs} channels")
        return Sum(), inputs[0]
    if name in {"Detect", "DetectLite"}:
        (nc,) = args
        return (DetectV8 if name == "Detect" else DetectLite)(nc, ch=inputs), 0
    raise ValueError(
        f"unknown module '{name}', known are Conv, C2f, SPPF, LDConv, SSFF, Upsample, Concat, Sum, "
        "Detect, DetectLite"
    )


class EndToEnd(nn.Module):
    """A model with its boxes decoded, cut to the anchors of best class score.

    Args:
        model: a `DealModel`; put into eval mode.
        max_detections: K, the number of anchors kept.
    """

    def __init__(self, model: DealModel, max_detections: int = 3000) -> None:
        super().__init__()
        self.model = model.eval()
        self.max_detections = max_detections

    def forward(self, images: Tensor) -> Tensor:
        """``(b, 3, h, w)`` RGB in [0, 1] to ``(b, K, 4 + nc)``.

        Rows are left, top, right, bottom in px of the input, then class scores, best first.
        """
        output = self.model(images)[0].transpose(1, 2)
        k = min(self.max_detections, output.shape[1])
        best = output[..., 4:].amax(-1).topk(k, dim=1).indices
        output = output.gather(1, best[..., None].expand(-1, -1, output.shape[2]))
        centre, size, scores = output.split([2, 2, output.shape[2] - 4], dim=2)
        return torch.cat([centre - size / 2, centre + size / 2, scores], dim=2)
