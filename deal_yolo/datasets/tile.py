"""Cut photos into windows for training, and remember where each window came from."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import yaml

from deal_yolo.boxes import window_grid
from deal_yolo.datasets.dataset import Dataset, TileConfig
from deal_yolo.datasets.files import made_whole, write_atomic
from deal_yolo.datasets.images import Image, window_reader
from deal_yolo.datasets.labels import Labels, format_rows, to_row
from deal_yolo.datasets.window import window_labels, window_pixels
from deal_yolo.errors import DatasetError, OutputError

__all__ = ["TileConfig", "Window", "read_manifest", "tile_dataset"]

QUALITY = 95
MANIFEST = "manifest.csv"
JOB = "tile.json"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Window:
    """A row of the manifest: a window, and the part of a photo that it shows.

    Args:
        window: its file, relative to the folder of the manifest.
        source: the photo, relative to the root of its data set.
        scale: px of the window for each px of the photo.
        x1: left border in px of the photo; ``x2``, ``y1``, ``y2`` likewise.
        width: of the photo, in px; ``height`` likewise.
        objects: boxes kept in the window.

    A pixel ``(u, v)`` of the window is ``(x1 + u / scale, y1 + v / scale)`` of the photo.
    """

    split: str
    window: str
    source: str
    scale: float
    x1: int
    y1: int
    x2: int
    y2: int
    width: int
    height: int
    objects: int


@dataclass(frozen=True)
class _Job:
    dataset: Dataset
    config: TileConfig
    split: str
    image: Path
    name: str

    @property
    def source(self) -> str:
        return self.image.relative_to(self.dataset.root).as_posix()


def tile_dataset(
    dataset: Dataset,
    out: Path,
    config: TileConfig,
    splits: Sequence[str] = ("train", "val"),
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Cut the photos of ``splits`` into windows and write them as a YOLO data set.

    ``out`` gets ``images/SPLIT``, ``labels/SPLIT``, ``ignore/SPLIT`` for boxes of which too little
    is seen, ``data.yaml``, ``manifest.csv`` (see `Window`) and ``tile.json``. The same photos and
    settings give the same bytes. A run that was cut off goes on where it stopped; one that was
    finished with the same photos and settings is left alone.

    Args:
        dataset: where the photos are.
        out: folder to make.
        config: how to cut.
        splits: which splits to cut.
        workers: photos in work at a time, each held in memory; None is one a core.
        progress: called with photos done and photos in all.

    Returns:
        The path of ``data.yaml``.

    Raises:
        DatasetError: a photo or label file cannot be read.
        OutputError: ``out`` holds something else, or cannot be written.
    """
    out = Path(os.path.abspath(out))
    jobs = _jobs(dataset, config, splits)
    wanted = _fingerprint(jobs, config)
    if _read_text(out / JOB) == wanted:
        return out / "data.yaml"
    with made_whole(out, keep=True) as folder:
        _start(folder, wanted, splits)
        try:
            _run(jobs, folder, workers or os.cpu_count() or 1, progress)
            windows = [w for job in jobs for w in _finished(folder, job) or ()]
            if not windows:
                raise DatasetError(f"no window of {dataset.yaml} is kept: lower 'real'")
            _write_manifest(folder / MANIFEST, windows)
            _write_yaml(folder / "data.yaml", dataset, splits)
            for job in jobs:
                _record(folder, job).unlink()
            for split in splits:
                (folder / "done" / split).rmdir()
            (folder / "done").rmdir()
        except OSError as error:
            raise OutputError(f"cannot write {folder}: {error}") from error
    return out / "data.yaml"


def read_manifest(folder: Path) -> list[Window]:
    """The windows of a folder made by `tile_dataset`.

    Raises:
        DatasetError: there is no manifest, or it is malformed.
    """
    try:
        with (folder / MANIFEST).open(encoding="utf-8", newline="") as file:
            return [_parse_window(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise DatasetError(f"cannot read {folder / MANIFEST}: {error}") from error


def _parse_window(row: dict[str, str]) -> Window:
    numbers = {k: int(row[k]) for k in ("x1", "y1", "x2", "y2", "width", "height", "objects")}
    return Window(row["split"], row["window"], row["source"], float(row["scale"]), **numbers)


def _jobs(dataset: Dataset, config: TileConfig, splits: Sequence[str]) -> list[_Job]:
    jobs = []
    for split in splits:
        images = dataset.images(split)
        shared = Counter(image.stem for image in images)
        # Validation and test windows are for scoring, where leaving out empty ones would flatter.
        rule = config if split == "train" else replace(config, background=1.0)
        for image in images:
            name = image.stem
            if shared[name] > 1:
                place = image.relative_to(dataset.root).as_posix()
                name += "-" + hashlib.sha256(place.encode()).hexdigest()[:8]
            jobs.append(_Job(dataset, rule, split, image, name))
    return jobs


def _fingerprint(jobs: list[_Job], config: TileConfig) -> str:
    """What the result depends on; a change of it makes earlier work worthless."""
    digest = hashlib.sha256()
    for job in jobs:
        for file in (job.image, job.dataset.label_path(job.image)):
            stat = file.stat() if file.exists() else None
            digest.update(
                f"{job.split} {job.source} {stat and (stat.st_size, stat.st_mtime_ns)}\n".encode()
            )
    content = {"photos": len(jobs), "tile": asdict(config), "sha256_of_list": digest.hexdigest()}
    return json.dumps(content, indent=2) + "\n"


def _start(folder: Path, wanted: str, splits: Sequence[str]) -> None:
    if _read_text(folder / JOB) != wanted:
        for file in sorted(folder.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
    for kind in ("images", "labels", "ignore", "done"):
        for split in splits:
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
    write_atomic(folder / JOB, wanted)


def _run(jobs: list[_Job], folder: Path, workers: int, progress: Progress | None) -> None:
    todo = [job for job in jobs if _finished(folder, job) is None]
    done = len(jobs) - len(todo)
    lock = threading.Lock()
    stop = threading.Event()

    def work(job: _Job) -> None:
        nonlocal done
        if stop.is_set():
            return
        windows = _tile_photo(job, folder)
        write_atomic(_record(folder, job), json.dumps([asdict(w) for w in windows]))
        with lock:
            done += 1
            if progress:
                progress(done, len(jobs))

    # Threads suffice: OpenCV decodes, resizes and encodes without holding Python's lock.
    with ThreadPoolExecutor(workers) as pool:
        futures: list[Future[None]] = [pool.submit(work, job) for job in todo]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
    for future in futures:
        future.result()


def _record(folder: Path, job: _Job) -> Path:
    return folder / "done" / job.split / f"{job.name}.json"


def _finished(folder: Path, job: _Job) -> list[Window] | None:
    text = _read_text(_record(folder, job))
    return None if text is None else [Window(**row) for row in json.loads(text)]


def _tile_photo(job: _Job, folder: Path) -> list[Window]:
    labels = job.dataset.labels(job.image)
    windows = []
    with window_reader(job.image) as reader:
        for scale in job.config.scales:
            side = max(1, round(job.config.size / scale))
            for area in window_grid(reader.width, reader.height, side, job.config.overlap):
                part = window_labels(labels, area, scale, job.config)
                name = f"{job.name}__{round(scale * 100)}_{area[0]}_{area[1]}"
                if part.ignore.all() and not _keeps_background(job, name):
                    continue
                pixels = window_pixels(reader, area, scale, job.config)
                if pixels is None:
                    continue
                _write_window(folder, job, name, pixels, part)
                x1, y1, x2, y2 = (int(v) for v in area)
                windows.append(
                    Window(
                        split=job.split,
                        window=f"images/{job.split}/{name}.jpg",
                        source=job.source,
                        scale=scale,
                        x1=x1,
                        y1=y1,
                        x2=x2,
                        y2=y2,
                        width=reader.width,
                        height=reader.height,
                        objects=int((~part.ignore).sum()),
                    )
                )
    return windows


def _keeps_background(job: _Job, name: str) -> bool:
    digest = hashlib.sha256(f"{job.config.seed} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < job.config.background * 2**64


def _write_window(folder: Path, job: _Job, name: str, pixels: Image, labels: Labels) -> None:
    file = folder / "images" / job.split / f"{name}.jpg"
    if not cv2.imwrite(str(file), pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY]):
        raise OutputError(f"cannot write {file}")
    size = job.config.size
    rows = [to_row(c, box, size, size) for c, box in zip(labels.class_id, labels.xyxy, strict=True)]
    for kind, wanted in (("labels", False), ("ignore", True)):
        chosen = [row for row, ignore in zip(rows, labels.ignore, strict=True) if ignore == wanted]
        # As ultralytics has it, no label file means no objects; on many file systems making a file
        # takes as long as cutting the window.
        if chosen:
            path = folder / kind / job.split / f"{name}.txt"
            path.write_text(format_rows(chosen), encoding="utf-8")


def _write_manifest(path: Path, windows: list[Window]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Window.__dataclass_fields__)
        writer.writerows(asdict(w).values() for w in windows)


def _write_yaml(path: Path, dataset: Dataset, splits: Sequence[str]) -> None:
    # No 'path': ultralytics and load_dataset then take the YAML's folder, and it can be moved.
    content: dict[str, object] = {split: f"images/{split}" for split in splits}
    content["names"] = dict(enumerate(dataset.names))
    for key in ("source", "licence", "citation"):
        if value := getattr(dataset.config, key):
            content[key] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
