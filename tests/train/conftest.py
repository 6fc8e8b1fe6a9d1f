from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture()
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    for split, number in (("train", 12), ("val", 4)):
        (root / split / "images").mkdir(parents=True)
        (root / split / "labels").mkdir()
        for i in range(number):
            picture = rng.integers(0, 60, (64, 64, 3), np.uint8)
            x, y = rng.integers(12, 52, 2)
            picture[y - 6 : y + 6, x - 6 : x + 6] = 250
            cv2.imwrite(str(root / split / "images" / f"{split}{i}.png"), picture)
            row = f"{i % 2} {x / 64} {y / 64} {12 / 64} {12 / 64}\n"
            (root / split / "labels" / f"{split}{i}.txt").write_text(row)
        names = sorted(f"{split}/images/{p.name}" for p in (root / split / "images").iterdir())
        (root / f"{split}.txt").write_text("\n".join(names))
    path = root / "data.yaml"
    path.write_text("train: train.txt\nval: val.txt\nnames: {0: odd, 1: even}\n")
    return path
