"""Settings as frozen dataclasses, read from YAML; a key nobody knows is refused."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from deal_yolo.errors import ConfigError

T = TypeVar("T")
Kind = Literal["models", "data", "train", "refine", "track"]


def configs_folder() -> Path:
    """The folder with the shipped YAML files: in the wheel, or at the top of a checkout."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "configs"


def find_config(kind: Kind, name: str | Path) -> Path:
    """The file that ``name`` means: a path of the user's, or the name of a shipped file.

    Raises:
        ConfigError: there is neither.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path
    folder = configs_folder() / kind
    shipped = folder / f"{path.name.removesuffix('.yaml')}.yaml"
    if shipped.is_file() and (path.parent == Path() or path.parts[-3:-1] == ("configs", kind)):
        return shipped
    known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
    raise ConfigError(f"no {kind} configuration '{name}': give a YAML file or one of {known}")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: it cannot be read, is not YAML, or is not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise ConfigError(f"{path} is not valid YAML: {line}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold 'key: value' lines")
    return content


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build the dataclass ``kind`` from ``values``, with types checked.

    Args:
        kind: a dataclass whose fields are numbers, strings, booleans, tuples, mappings, unions
            with None, or dataclasses.
        values: its fields; missing ones take their default.
        where: what to name in an error, usually the file.

    Raises:
        ConfigError: an unknown or missing key, or a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, kind)) if f.init}
    unknown = sorted(str(k) for k in values if k not in fields)
    if unknown:
        raise ConfigError(f"{where}: unknown key '{unknown[0]}', known are {', '.join(fields)}")
    missing = [
        name
        for name, f in fields.items()
        if name not in values
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: key '{missing[0]}' is missing")
    made = {k: _convert(v, hints[k], f"{where}: {k}") for k, v in values.items()}
    try:
        return kind(**made)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def load(kind: type[T], path: Path) -> T:
    """Build the dataclass ``kind`` from a YAML file; see `from_mapping`."""
    return from_mapping(kind, read_yaml(path), str(path))


def _convert(value: Any, hint: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(value, next(a for a in args if a is not type(None)), where)
    if origin is Literal:
        if value not in args:
            raise ConfigError(f"{where} must be one of {', '.join(map(str, args))}, not {value}")
        return value
    if origin in (tuple, dict):
        return _convert_container(value, origin, args, where)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_mapping(typing.cast(type, hint), value, where)
    if hint is float and type(value) is int:
        return float(value)
    if hint is Any or type(value) is hint:
        return value
    raise ConfigError(f"{where} must be of type {getattr(hint, '__name__', hint)}, not {value!r}")


def _convert_container(value: Any, origin: Any, args: tuple[Any, ...], where: str) -> Any:
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(v, args[0], where) for v in value)
    if origin is dict and isinstance(value, Mapping):
        return {_convert(k, args[0], where): _convert(v, args[1], where) for k, v in value.items()}
    raise ConfigError(
        f"{where} must be a {'list' if origin is tuple else 'mapping'}, not {value!r}"
    )


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Refuse a setting outside ``[low, high]``.

    Raises:
        ConfigError: it is outside.
    """
    if not low <= value <= high:
        raise ConfigError(f"{name} must be between {low} and {high}, not {value}")


@dataclass(frozen=True)
class RefineConfig:
    """How the second look works; see ``deal_yolo.infer.refine``.

    Args:
        low: least first-look score of a candidate.
        high: first-look score from which a box is sure and not looked at again.
        first_imgsz: side in px at which the whole photo is seen first; None is the detector's own.
            No photo is seen finer than a window would be.
        window: side of a second-look window, in px of the photo.
        window_imgsz: side in px at which the model sees such a window; None is the model's own.
        context: share of its size by which a candidate grows on each side.
        least_context: least side of a grown candidate, in px of the photo.
        max_windows: most windows a photo; the most promising come first.
        least_gain: a window of less expected gain than this is not looked at; the gain of a
            window is the sum of ``s (1 - s)`` over the scores ``s`` of the unsure boxes in it.
        least_zoom: there is no second look at a photo that windows would show less than this
            many times larger than the first look did.
        border: a second-look box this near to a window's inner border is dropped, in px of
            the photo.
        first_weight: weight of the first look in the mean score of both, where an object that one
            of them does not find has score 0 in it.
        match_iou: from this IoU on, a first- and a second-look box are the same animal.
        nms_iou: threshold of the one suppression at the end.
        budget_ms: most time for a photo, in ms; as many windows are looked at as fit into it at
            the speed measured. The results then depend on the machine. None sets no limit.
        rule: ``cover`` lays few windows over all candidates; ``paper`` is the published rule,
            which crops each candidate by itself and adds no object.
        augment: see each window also mirrored and at smaller sizes.
    """

    low: float = 0.02
    high: float = 0.8
    first_imgsz: int | None = 640
    window: int = 1024
    window_imgsz: int | None = None
    context: float = 0.1
    least_context: int = 32
    max_windows: int = 16
    least_gain: float = 0.0
    least_zoom: float = 1.2
    border: int = 2
    first_weight: float = 0.2
    match_iou: float = 0.3
    nms_iou: float = 0.5
    budget_ms: float | None = None
    rule: Literal["cover", "paper"] = "cover"
    augment: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high", "first_weight", "match_iou", "nms_iou"):
            check_range(name, getattr(self, name), 0, 1)
        check_range("context", self.context, 0, 10)
        check_range("window", self.window, 32, 100_000)
        check_range("max_windows", self.max_windows, 0, 100_000)
        check_range("least_gain", self.least_gain, 0, 1e9)
        check_range("least_zoom", self.least_zoom, 0, 100)
        check_range("border", self.border, 0, self.window // 4)
        if self.budget_ms is not None:
            check_range("budget_ms", self.budget_ms, 0, 1e9)
        if self.low >= self.high:
            raise ConfigError(f"low ({self.low}) must be below high ({self.high})")


@dataclass(frozen=True)
class SliceConfig:
    """How the uniform windows of ``sliced`` are laid.

    Args:
        window: side of a window, in px of the photo.
        window_imgsz: side in px at which the model sees it; None is the model's own.
        overlap: least share of a window's side that it shares with its neighbour.
        border: a box this near to a window's inner border is dropped, in px of the photo.
        nms_iou: threshold of the one suppression at the end.
    """

    window: int = 1024
    window_imgsz: int | None = None
    overlap: float = 0.2
    border: int = 2
    nms_iou: float = 0.5

    def __post_init__(self) -> None:
        check_range("window", self.window, 32, 100_000)
        check_range("overlap", self.overlap, 0, 0.9)
        check_range("nms_iou", self.nms_iou, 0, 1)
