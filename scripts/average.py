"""Average two weights of a model, half and half: before and after a part of training, or two runs.

python scripts/average.py ONE.safetensors OTHER.safetensors OUT.safetensors; then calibrate OUT.
One and other must have come from the same weights not long ago. What OUT says of its training is
the other's.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import torch

from deal_yolo.model.checkpoint import load_model, save_model


def main() -> None:
    before, after, out = map(Path, sys.argv[1:])
    (model, _), (other, metadata) = load_model(before), load_model(after)
    theirs = other.state_dict()
    # Statistics of batch norm too: the two are near enough to each other.
    mean = {
        name: torch.lerp(own, theirs[name], 0.5) if own.is_floating_point() else theirs[name]
        for name, own in model.state_dict().items()
    }
    model.load_state_dict(mean)
    training = metadata.training | {"averaged_with": before.name}
    save_model(model, dataclasses.replace(metadata, training=training), out)


if __name__ == "__main__":
    main()
