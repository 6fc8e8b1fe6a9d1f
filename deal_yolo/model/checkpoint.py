"""Weights on disk: safetensors with metadata; a ``.pt`` file is never unpickled freely."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from deal_yolo.errors import ConfigError, WeightsError
from deal_yolo.metadata import Metadata
from deal_yolo.model.network import DealModel

LARGEST_HEADER = 100 * 1024 * 1024


def save_model(model: DealModel, metadata: Metadata, path: Path) -> None:
    """Write a model's tensors and metadata as safetensors, whole or not at all."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata.to_strings())
    part.chmod(0o644)  # safetensors writes for the owner alone
    os.replace(part, path)


def load_model(path: Path) -> tuple[DealModel, Metadata]:
    """Read what `save_model` wrote; the model comes in eval mode, in FP32, on the CPU.

    Raises:
        WeightsError: the file is missing, damaged, or not of this package.
    """
    metadata = read_metadata(path)
    try:
        model = DealModel(metadata.model)
        _load(model, load_file(path))
    except (SafetensorError, RuntimeError, ConfigError, KeyError, TypeError) as error:
        line = " ".join(str(error).split())[:300]
        raise WeightsError(f"{path}: weights do not fit their model: {line}") from error
    model.names = dict(enumerate(metadata.names))
    return model.eval(), metadata


def _load(model: DealModel, tensors: dict[str, Tensor]) -> None:
    """Fill the network; the loss it was trained with may have been another one."""
    keys = model.load_state_dict(tensors, strict=False)
    wrong = [k for k in (*keys.missing_keys, *keys.unexpected_keys) if k.startswith("model.")]
    if wrong:
        raise KeyError(f"{wrong[0]} is missing or not in the model")


def read_metadata(path: Path) -> Metadata:
    """The metadata of a safetensors file, without its tensors.

    Raises:
        WeightsError: the file is missing, damaged, or not of this package.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > LARGEST_HEADER:
                raise ValueError("its header is too long")
            header = json.loads(file.read(length))
        values = header.get("__metadata__", {})
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    except (struct.error, ValueError, AttributeError) as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}") from error
    return Metadata.from_strings(values, str(path))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors by name in a safetensors file or in a ``.pt`` file of ultralytics' form.

    A ``.pt`` is read with ``weights_only``: besides tensors only the classes of layers
    (subclasses of ``nn.Module`` in torch and ultralytics) are let in.

    Raises:
        WeightsError: the file is missing, damaged, of another kind, or holds other objects.
    """
    if not path.is_file():
        raise WeightsError(f"no weights file {path}")
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise WeightsError(f"{path} is not a safetensors file: {error}") from error
    if path.suffix != ".pt":
        raise WeightsError(f"{path}: weights to start from must be .safetensors or .pt")
    try:
        allowed = _layer_classes(get_unsafe_globals_in_checkpoint(path), path)
        with safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, AttributeError) as error:
        raise WeightsError(f"cannot read {path}: {' '.join(str(error).split())[:200]}") from error
    return _tensors_of(content, path)


def _layer_classes(names: Iterable[str], path: Path) -> list[Any]:
    classes: list[Any] = []
    for name in names:
        module, _, attribute = name.rpartition(".")
        if module.startswith(("torch.nn.modules.", "ultralytics.nn.")):
            found = getattr(importlib.import_module(module), attribute, None)
            if isinstance(found, type) and issubclass(found, nn.Module):
                classes.append(found)
                continue
        if name == "ultralytics.utils.IterableSimpleNamespace":
            classes.append(importlib.import_module(module).IterableSimpleNamespace)
            continue
        raise WeightsError(
            f"{path} holds '{name}', which is not loaded: save its state_dict instead"
        )
    return classes


def _tensors_of(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, dict):
        content = content.get("ema") or content.get("model") or content
    if isinstance(content, nn.Module):
        content = content.state_dict()
    if not isinstance(content, dict) or not content:
        raise WeightsError(f"{path} holds no model")
    tensors = {str(k): v.float() for k, v in content.items() if isinstance(v, Tensor)}
    if not tensors:
        raise WeightsError(f"{path} holds no tensors")
    return tensors
