"""The job behind ``deal-yolo predict``: checks everything first, then detects and writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath

from deal_yolo import __version__
from deal_yolo.config import RefineConfig, SliceConfig, check_range, find_config, load
from deal_yolo.errors import ConfigError, SourceError, require
from deal_yolo.infer.detector import Detector, Strategy, load_detector
from deal_yolo.infer.draw import Annotator
from deal_yolo.infer.pipeline import Frames, Pipeline, Summary
from deal_yolo.infer.reading import count_all, read_all
from deal_yolo.infer.record import read_journal
from deal_yolo.infer.refine import TwoStage
from deal_yolo.infer.resume import Past, Settings, check_writable, look_back, replay
from deal_yolo.infer.sinks import (
    JOURNAL,
    CocoSink,
    CsvSink,
    ImageSink,
    JournalSink,
    Sink,
    YoloSink,
    write_whole,
)
from deal_yolo.infer.source import Frame, Media, Unreadable, find_media
from deal_yolo.infer.strategies import NAMES, build_strategy
from deal_yolo.infer.timeline import animals_csv, timeline_png
from deal_yolo.infer.track import Animal, Census, TrackConfig, Tracks
from deal_yolo.infer.video import Excerpt
from deal_yolo.infer.video_sink import VideoSink

KINDS = ("images", "video", "csv", "json", "coco", "yolo")


@dataclass(frozen=True)
class PredictConfig:
    """What is wanted of a run.

    Args:
        sources: photos, videos, folders, globs, camera numbers, addresses, pipelines.
        weights: the weights file.
        out: folder for the results.
        strategy: one of `NAMES`.
        save: some of `KINDS`; None is the table and annotated pictures, of videos as a video.
            The journal ``detections.jsonl`` is always written.
        imgsz: px at which the whole photo is seen, or with ``sliced`` a window.
        conf: least score of a result; None takes the one that travels with the weights.
        refine: YAML file or shipped name for the second look; None takes that of the weights.
        max_windows: most windows of the second look; None takes that of ``refine``.
        budget_ms: most time for a frame; None takes that of ``refine``.
        track: YAML file or shipped name for tracking; None does not track.
        excerpt: which frames of a video.
        timeout_s: how long a stream may be silent.
        resume: go on where an earlier run into ``out`` was stopped.
        threads: CPU threads of the network.
        device: where the network runs.

    Raises:
        ConfigError: an unknown strategy or kind of result, or a number out of range.
    """

    sources: tuple[str, ...]
    weights: Path
    out: Path
    strategy: str = "two-stage"
    save: tuple[str, ...] | None = None
    imgsz: int | None = None
    conf: float | None = None
    refine: str | None = None
    max_windows: int | None = None
    budget_ms: float | None = None
    track: str | None = None
    excerpt: Excerpt = field(default_factory=Excerpt)
    timeout_s: float = 10.0
    resume: bool = False
    threads: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.strategy not in NAMES:
            known = ", ".join(NAMES)
            raise ConfigError(f"no strategy '{self.strategy}', known are {known}")
        unknown = [kind for kind in self.save or () if kind not in KINDS]
        if unknown:
            raise ConfigError(f"cannot save '{unknown[0]}', known are {', '.join(KINDS)}")
        if self.conf is not None:
            check_range("conf", self.conf, 0, 1)
        check_range("timeout", self.timeout_s, 0.1, 3600)
        if self.threads is not None:
            check_range("threads", self.threads, 1, 1024)
        given = (self.refine, self.max_windows, self.budget_ms)
        if self.strategy != "two-stage" and given != (None, None, None):
            raise ConfigError(
                "--refine, --max-windows and --budget-ms are for --strategy two-stage"
            )


@dataclass(frozen=True)
class Outcome:
    """What a run gave: the summary, and the distinct animals if they were tracked."""

    summary: Summary
    animals: list[Animal] | None = None


def predict(
    config: PredictConfig,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Outcome:
    """Detect in all sources and write the results into ``config.out``.

    Args:
        config: what is wanted.
        progress: called with the number of frames done, and of all where that is known.

    Raises:
        InputError: some input is wrong, or a result cannot be written.
    """
    media = find_media(config.sources)
    save = _what_to_save(config, media)
    tracking = None
    if config.track is not None:
        require("trackers", "footage")
        tracking = load(TrackConfig, find_config("track", config.track))
    detector, strategy, conf = _prepare(config)
    names = detector.metadata.names
    new_draw = (lambda: Annotator(names)) if {"images", "video"} & set(save) else None
    settings = _settings(config, strategy, conf, tracking)
    past = look_back(config.out, media, settings, "video" in save) if config.resume else Past()
    source, peeked = _open(read_all(media, config.excerpt, config.timeout_s, past.done))
    check_writable(config.out, settings)
    tracks = None if tracking is None else Tracks(tracking)
    if tracks is not None:
        replay(tracks, media, config.excerpt, past)
    total, done = count_all(media, config.excerpt), past.frames

    def one_more() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    with ExitStack() as stack:
        # Closed in reverse: the journal before the COCO file that is made of it.
        sinks = [stack.enter_context(closing(s)) for s in _sinks(config.out, save, names, past)]
        batch = detector.backend.batch_size or 1
        pipeline = Pipeline(strategy, names, conf, sinks, new_draw, tracks, batch)
        summary = pipeline(source, one_more)
    summary.unreadable[:0] = peeked
    animals = None if tracking is None else _write_animals(config.out, names, tracking.confirm)
    return Outcome(summary, animals)


def _what_to_save(config: PredictConfig, media: Sequence[Media]) -> tuple[str, ...]:
    photos = sum(m.kind == "photo" for m in media)
    save = config.save
    if save is None:
        pictures = [k for k, n in (("images", photos), ("video", len(media) - photos)) if n]
        save = (*pictures, "csv")
    if photos == len(media) and ("video" in save or config.track is not None):
        what = "--save video" if "video" in save else "--track"
        raise ConfigError(f"{what} needs a video, these are photos")
    return save


def _prepare(config: PredictConfig) -> tuple[Detector, Strategy, float]:
    detector = load_detector(config.weights, threads=config.threads, device=config.device)
    metadata, imgsz = detector.metadata, config.imgsz
    refine = metadata.refine
    if config.refine is not None:
        refine = load(RefineConfig, find_config("refine", config.refine))
    if config.max_windows is not None:
        refine = replace(refine, max_windows=config.max_windows)
    if config.budget_ms is not None:
        refine = replace(refine, budget_ms=config.budget_ms)
    if imgsz is not None:
        detector = detector.with_imgsz(imgsz)
        refine = replace(refine, first_imgsz=imgsz)
    slices = SliceConfig(window_imgsz=imgsz)
    conf = metadata.score_threshold if config.conf is None else config.conf
    return detector, build_strategy(config.strategy, detector, refine, slices), conf


def _settings(
    config: PredictConfig, strategy: Strategy, conf: float, tracking: TrackConfig | None
) -> Settings:
    """What must be the same in a run that goes on; it also tells later how results were made."""
    return {
        "version": __version__,
        "weights": config.weights.name,
        "weights_sha256": hashlib.sha256(config.weights.read_bytes()).hexdigest(),
        "strategy": config.strategy,
        "imgsz": config.imgsz,
        "conf": conf,
        "refine": asdict(strategy.config) if isinstance(strategy, TwoStage) else None,
        "excerpt": asdict(config.excerpt),
        "track": None if tracking is None else asdict(tracking),
    }


def _open(source: Frames) -> tuple[Frames, list[Unreadable]]:
    """The same source, known to give a frame, and what could not be read before that.

    Raises:
        SourceError: nothing can be read.
    """
    bad: list[Unreadable] = []
    for item in source:
        if isinstance(item, Frame):
            return _with_first(item, source), bad
        bad.append(item)
    if bad:
        raise SourceError("; ".join(item.reason for item in bad))
    return source, bad


def _with_first(first: Frame, rest: Frames) -> Frames:
    with closing(rest):
        yield first
        yield from rest


def _sinks(out: Path, save: Sequence[str], names: Sequence[str], past: Past) -> list[Sink]:
    sinks: list[Sink] = []
    if "images" in save:
        sinks.append(ImageSink(out))
    if "video" in save:
        sinks.append(VideoSink(out, past.counts))
    if "yolo" in save:
        sinks.append(YoloSink(out, names))
    if "csv" in save:
        sinks.append(CsvSink(out, past.records()))
    if "coco" in save:
        sinks.append(CocoSink(out, names))
    return [*sinks, JournalSink(out, past.records())]


def _write_animals(out: Path, names: Sequence[str], confirm: int) -> list[Animal]:
    counter = Census(confirm)
    videos: dict[str, PurePosixPath] = {}
    for record in read_journal(out / JOURNAL):
        counter.add(record)
        videos[record["source"]] = PurePosixPath(record["name"]).parent
    animals = counter.animals()
    write_whole(out / "animals.csv", animals_csv(animals).encode())
    for source, name in videos.items():
        own = [animal for animal in animals if animal.source == source]
        picture = timeline_png(own, names, PurePosixPath(source).name)
        write_whole(out / "timelines" / name.with_name(name.name + ".png"), picture)
    return animals
