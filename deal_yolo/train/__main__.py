"""One of several processes that train together.

``torchrun --standalone --nproc-per-node 2 -m deal_yolo.train FOLDER [--resume]``, where FOLDER
holds a run that was prepared for as many devices. ``deal-yolo train --device 0,1`` does both.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deal_yolo.train.engine import DealTrainer, overrides
from deal_yolo.train.settings import Run


def main() -> None:
    """Train the run in a folder, as the process that torchrun's variables say."""
    parser = argparse.ArgumentParser(prog="deal_yolo.train")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    DealTrainer(overrides=overrides(Run.load(options.folder.resolve()), options.resume)).train()


if __name__ == "__main__":
    main()
