"""In which number format the forward pass of training runs."""

from __future__ import annotations

from typing import Literal

import torch

from deal_yolo.errors import ConfigError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def has_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` computes in bfloat16 itself, rather than emulating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # Older versions of torch do not tell; there it has to be asked for by name.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast_dtype(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The autocast type for ``precision`` on ``device``; None for FP32.

    Raises:
        ConfigError: the device cannot compute in it.
    """
    if precision == "auto":
        return torch.bfloat16 if has_bfloat16(device) else None
    if precision == "fp16" and device.type != "cuda":
        raise ConfigError(f"precision fp16 needs CUDA, not {device.type}: use bf16, fp32 or auto")
    return DTYPES[precision]
