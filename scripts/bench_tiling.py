"""Time `tile_dataset` beside SAHI's `slice_coco`: same photos, same windows, runs in turn.

DEAL_YOLO_DATA=.../elephant-seals python scripts/bench_tiling.py elephant-seals test
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sahi.slicing import slice_coco

from deal_yolo.config import find_config
from deal_yolo.datasets.dataset import Dataset, TileConfig, load_dataset
from deal_yolo.datasets.images import image_size
from deal_yolo.datasets.tile import tile_dataset

ROUNDS = 5
TILE = TileConfig(size=640, scales=(1.0,), overlap=0.2, visible=0.4, real=0.0, background=1.0)


def write_coco(dataset: Dataset, split: str, path: Path) -> None:
    images, boxes = [], []
    for number, photo in enumerate(dataset.images(split)):
        width, height = image_size(photo)
        name = str(photo.relative_to(dataset.root))
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        labels = dataset.labels(photo)
        for (x1, y1, x2, y2), kind in zip(labels.xyxy.tolist(), labels.class_id, strict=True):
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            boxes.append(
                {"id": len(boxes) + 1, "image_id": number, "category_id": int(kind), **box}
            )
    categories = [{"id": i, "name": n} for i, n in enumerate(dataset.names)]
    content = {"images": images, "annotations": boxes, "categories": categories}
    path.write_text(json.dumps(content))


def seconds(work: Callable[[Path], object]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        work(Path(folder) / "windows")
        return time.perf_counter() - start


def main(name: str, split: str) -> None:
    dataset = load_dataset(find_config("data", name))
    with tempfile.TemporaryDirectory() as folder:
        coco = Path(folder) / "coco.json"
        write_coco(dataset, split, coco)

        def sahi(suffix: str | None) -> Callable[[Path], object]:
            return lambda out: slice_coco(
                str(coco),
                str(dataset.root),
                "windows",
                output_dir=str(out),
                slice_height=640,
                slice_width=640,
                overlap_height_ratio=0.2,
                overlap_width_ratio=0.2,
                min_area_ratio=0.4,
                out_ext=suffix,
                verbose=False,
            )

        contestants = {
            "ours, JPEG of quality 95": lambda out: tile_dataset(dataset, out, TILE, (split,)),
            "SAHI, out_ext='.jpg' (quality 75)": sahi(".jpg"),
            "SAHI as it comes (PNG)": sahi(None),
        }
        times: dict[str, list[float]] = {label: [] for label in contestants}
        for _ in range(ROUNDS):
            for label, work in contestants.items():
                times[label].append(seconds(work))
    for label, values in times.items():
        print(f"{label}: {statistics.median(values):.2f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
