"""Start a model from the weights of another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from deal_yolo.errors import WeightsError
from deal_yolo.model.blocks import LDConv
from deal_yolo.model.network import DealModel

PREFIX = "model."


@dataclass(frozen=True)
class Transfer:
    """What was taken over.

    Args:
        taken: our tensors that now hold the other model's values.
        left: our tensors that kept their own.
    """

    taken: tuple[str, ...]
    left: tuple[str, ...]

    def summary(self, model: DealModel) -> str:
        """One line: tensors, share of the parameters, and layers wholly or partly taken."""
        parameters = {n: p.numel() for n, p in model.named_parameters()}
        share = sum(parameters.get(n, 0) for n in self.taken) / sum(parameters.values())
        taken = {_layer(n) for n in self.taken}
        left = {_layer(n) for n in self.left if n in parameters}
        whole, part = sorted(taken - left), sorted(taken & left)
        return (
            f"took over {len(self.taken)} tensors, {share:.0%} of the parameters: "
            f"layers {_listed(whole)} whole, {_listed(part)} in part"
        )


def _layer(name: str) -> int:
    return int(name.removeprefix(PREFIX).partition(".")[0])


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


@torch.no_grad()
def transfer(model: DealModel, tensors: Mapping[str, Tensor]) -> Transfer:
    """Copy into ``model`` every layer that fits.

    A layer fits where the names and shapes of all its tensors agree, and an `LDConv` also where
    the other model has a 3x3 convolution, see `sampled_kernel`. For weights of another model
    (YOLOv8's, say) the names are mapped first by the ``transfer`` table of the model's YAML.

    Args:
        model: changed in place.
        tensors: state dict of the other model.

    Raises:
        WeightsError: not one tensor fits.
    """
    own = {n: t for n, t in model.state_dict().items() if n.startswith(PREFIX)}
    table = model.yaml.get("transfer") or {}
    # All names there: the same architecture, at most with other classes or another width.
    same = all(n in tensors for n in own)
    sources = {n: tensors.get(n if same or not table else _mapped(n, table)) for n in own}
    for name, module in model.named_modules():
        kernel = sources.get(f"{name}.conv.weight")
        if isinstance(module, LDConv) and kernel is not None and _is_taken(kernel, module):
            weight, bias = sampled_kernel(kernel, module)
            sources[f"{name}.conv.weight"], sources[f"{name}.offset.bias"] = weight, bias
            sources[f"{name}.offset.weight"] = torch.zeros_like(module.offset.weight)

    def fits(name: str) -> bool:
        source = sources[name]
        return source is not None and source.shape == own[name].shape

    taken = []
    for names in _parts(own).values():
        # A convolution without its batch norm, or the reverse, would be of no use.
        if all(map(fits, names)):
            for name in names:
                own[name].copy_(sources[name])
            taken += names
    if not taken:
        raise WeightsError("no layer of the weights to start from fits this model")
    return Transfer(tuple(taken), tuple(n for n in own if n not in set(taken)))


def sampled_kernel(kernel: Tensor, layer: LDConv) -> tuple[Tensor, Tensor]:
    """What makes an `LDConv` start as near to a 3x3 convolution as its few points allow.

    The nine taps are dealt out to the points in the order in which these start. A point goes to
    the middle of its taps and takes the sum of their weights: where the map is flat, and for nine
    points everywhere, the output is that of the convolution.

    Args:
        kernel: ``(c2, c1, 3, 3)``.
        layer: where it is to go.

    Returns:
        The mixing weights ``(c2, c1, N, 1)`` and the bias ``(2 N,)`` of the offsets, in px of the
        layer's input.
    """
    count = torch.bincount(layer.start[0].long())
    weights, places = [], []
    for row, band in enumerate(torch.arange(3).tensor_split(len(count))):
        for columns in torch.arange(3).tensor_split(int(count[row])):
            weights.append(kernel[:, :, band][..., columns].sum((2, 3)))
            places.append((band.float().mean() - 1, columns.float().mean() - 1))
    bias = torch.tensor(places).T.to(layer.start) - layer.start
    return torch.stack(weights, 2)[..., None], bias.flatten()


def _is_taken(kernel: Tensor, layer: LDConv) -> bool:
    few = layer.points <= 9  # a tap at least for each
    return few and kernel.shape == (*layer.conv.weight.shape[:2], 3, 3)


def _parts(names: Iterable[str]) -> dict[str, list[str]]:
    """Tensor names by the convolution (with its batch norm) or plain layer they belong to."""
    parts: dict[str, list[str]] = {}
    for name in names:
        owner, _, _ = name.rpartition(".")
        inner = owner.rpartition(".")
        parts.setdefault(inner[0] if inner[2] in {"conv", "bn"} else owner, []).append(name)
    return parts


def _mapped(name: str, table: Mapping[str, str]) -> str:
    rest = name.removeprefix(PREFIX)
    for own, other in table.items():
        if rest.startswith(f"{own}."):
            return f"{PREFIX}{other}{rest.removeprefix(own)}"
    return ""
