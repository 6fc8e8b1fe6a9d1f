"""The job behind ``deal-yolo predict``: checks everything first, then detects and writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from deal_yolo.config import RefineConfig, SliceConfig, check_range, find_config, load
from deal_yolo.errors import ConfigError, OutputError
from deal_yolo.infer.detector import Strategy, load_detector
from deal_yolo.infer.draw import Annotator
from deal_yolo.infer.pipeline import Summary, run
from deal_yolo.infer.sinks import CocoSink, CsvSink, ImageSink, JournalSink, Sink, YoloSink
from deal_yolo.infer.source import find_photos, read_photos
from deal_yolo.infer.strategies import NAMES, build_strategy

KINDS = ("images", "csv", "json", "coco", "yolo")


@dataclass(frozen=True)
class PredictConfig:
    """What is wanted of a run.

    Args:
        sources: photos, folders and globs.
        weights: the weights file.
        out: folder for the results.
        strategy: one of `NAMES`.
        save: some of `KINDS`; the journal ``detections.jsonl`` is always written.
        imgsz: px at which the whole photo is seen, or with ``sliced`` a window.
        conf: least score of a result; None takes the one that travels with the weights.
        refine: YAML file or shipped name for the second look; None takes that of the weights.
        threads: CPU threads of the network.
        device: where the network runs.

    Raises:
        ConfigError: an unknown strategy or kind of result, or a score outside [0, 1].
    """

    sources: tuple[str, ...]
    weights: Path
    out: Path
    strategy: str = "two-stage"
    save: tuple[str, ...] = ("images", "csv")
    imgsz: int | None = None
    conf: float | None = None
    refine: str | None = None
    threads: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.strategy not in NAMES:
            known = ", ".join(NAMES)
            raise ConfigError(f"no strategy '{self.strategy}', known are {known}")
        unknown = [kind for kind in self.save if kind not in KINDS]
        if unknown:
            raise ConfigError(f"cannot save '{unknown[0]}', known are {', '.join(KINDS)}")
        if self.conf is not None:
            check_range("conf", self.conf, 0, 1)


def predict(
    config: PredictConfig, progress: Callable[[int, int], None] = lambda done, total: None
) -> Summary:
    """Detect in all sources and write the results into ``config.out``.

    Args:
        config: what is wanted.
        progress: called with the number of photos done and of all.

    Raises:
        InputError: some input is wrong, or a result cannot be written.
    """
    photos = find_photos(config.sources)
    strategy, names, threshold = _prepare(config)
    draw = Annotator(names) if "images" in config.save else None
    check_writable(config.out)
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        progress(done, len(photos))

    with ExitStack() as stack:
        # Closed in reverse: the journal before the COCO file that is made of it.
        sinks = [stack.enter_context(closing(s)) for s in _sinks(config, names)]
        return run(read_photos(photos), strategy, sinks, names, threshold, draw, one_more)


def _prepare(config: PredictConfig) -> tuple[Strategy, tuple[str, ...], float]:
    detector = load_detector(config.weights, threads=config.threads, device=config.device)
    metadata, imgsz = detector.metadata, config.imgsz
    refine, slices = metadata.refine, SliceConfig(window_imgsz=imgsz)
    if config.refine is not None:
        refine = load(RefineConfig, find_config("refine", config.refine))
    if imgsz is not None:
        detector = detector.with_imgsz(imgsz)
        refine = replace(refine, first_imgsz=imgsz)
    threshold = metadata.score_threshold if config.conf is None else config.conf
    return build_strategy(config.strategy, detector, refine, slices), metadata.names, threshold


def _sinks(config: PredictConfig, names: Sequence[str]) -> list[Sink]:
    out, save = config.out, config.save
    sinks: list[Sink] = []
    if "images" in save:
        sinks.append(ImageSink(out))
    if "yolo" in save:
        sinks.append(YoloSink(out, names))
    if "csv" in save:
        sinks.append(CsvSink(out))
    if "coco" in save:
        sinks.append(CocoSink(out, names))
    return [*sinks, JournalSink(out)]


def check_writable(out: Path) -> None:
    """Make the output folder.

    Raises:
        OutputError: it cannot be made or written.
    """
    probe = out / ".writable"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror}") from error
