"""Going on where an earlier run was stopped, without a frame missing or twice.

The journal says which frames are done. A video that was being written when its process was
killed may lack its last frame; that frame is then done again everywhere.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from deal_yolo.errors import ConfigError, OutputError
from deal_yolo.infer.record import Record, from_record, read_journal
from deal_yolo.infer.sinks import JOURNAL, write_whole
from deal_yolo.infer.source import Frame, Media
from deal_yolo.infer.track import Tracks
from deal_yolo.infer.video import Excerpt, count_frames, read_video
from deal_yolo.infer.video_sink import frames_in, video_path

Settings = Mapping[str, Any]
SETTINGS = "run.json"


@dataclass(frozen=True)
class Past:
    """What an earlier run has finished.

    Args:
        journal: its journal; None if there is none.
        done: for each source number and time of its last finished frame.
        counts: for each source how many frames are finished.
    """

    journal: Path | None = None
    done: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """All finished frames."""
        return sum(self.counts.values())

    def records(self) -> Iterator[Record]:
        """Of the finished frames, in order."""
        if self.journal is not None:
            for record in read_journal(self.journal):
                source = record["source"]
                if source in self.done and record["frame"] <= self.done[source][0]:
                    yield record


def look_back(out: Path, media: Sequence[Media], settings: Settings, with_video: bool) -> Past:
    """What an earlier run into ``out`` has finished; nothing if there was none.

    Raises:
        ConfigError: that run had other settings, or a source cannot be read a second time.
        OutputError: its journal cannot be read.
    """
    live = [m.path for m in media if m.live]
    if live:
        raise ConfigError("a camera or stream cannot be resumed: leave out --resume")
    journal = out / JOURNAL
    if not journal.exists():
        return Past()
    _compare(out / SETTINGS, settings)
    frames: dict[str, list[tuple[int, float]]] = defaultdict(list)
    videos: dict[str, Path] = {}
    for record in read_journal(journal):
        frames[record["source"]].append((record["frame"], record["time_s"]))
        if not record["still"]:
            videos[record["source"]] = video_path(out, PurePosixPath(record["name"]))
    if with_video:
        for source, path in videos.items():
            del frames[source][frames_in(path) :]
    frames = {source: seen for source, seen in frames.items() if seen}
    done = {source: seen[-1] for source, seen in frames.items()}
    return Past(journal, done, {source: len(seen) for source, seen in frames.items()})


def replay(tracks: Tracks, media: Sequence[Media], excerpt: Excerpt, past: Past) -> None:
    """Show the tracker the finished frames of the video that was not finished."""
    for one in media:
        finished = past.counts.get(one.path, 0)
        if one.kind != "video" or not finished or finished == count_frames(one.path, excerpt):
            continue
        last = replace(excerpt, to_s=past.done[one.path][1] + 0.001)
        frames = (f for f in read_video(one.path, one.name, last) if isinstance(f, Frame))
        records = (r for r in past.records() if r["source"] == one.path)
        for frame, record in zip(frames, records, strict=False):
            tracks(frame, from_record(record))


def check_writable(out: Path, settings: Settings) -> None:
    """Make the output folder and write the run's settings into it.

    Raises:
        OutputError: it cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file, name a folder")
    write_whole(out / SETTINGS, (json.dumps(settings, indent=1) + "\n").encode())


def _compare(path: Path, settings: Settings) -> None:
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read, run without --resume") from error
    now = json.loads(json.dumps(settings))
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        raise ConfigError(f"{path}: '{changed[0]}' was another then, run without --resume")
