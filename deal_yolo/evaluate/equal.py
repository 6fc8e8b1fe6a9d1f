"""What was not equal between the models of a comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deal_yolo.evaluate.models import Trained
from deal_yolo.evaluate.plan import RowConfig

_TRAINING = ("data", "epochs", "batch", "optimizer", "lr0", "loss", "precision", "seed")
# Named in the weights only where they were used.
_EXTRA = ("assigner", "teacher", "teacher_zoom", "ema_steps")


def circumstances(row: RowConfig, trained: Sequence[Trained]) -> dict[str, str]:
    """What should be equal between the models, by name."""
    each = [_circumstances(row, one) for one in trained]
    joined = {key: [one.get(key, "unknown") for one in each] for key in (each[0] if each else ())}
    return {
        key: ", ".join(values if key == "seed" else dict.fromkeys(values))
        for key, values in joined.items()
    }


def _circumstances(row: RowConfig, trained: Trained) -> dict[str, str]:
    metadata = trained.metadata
    training = {} if metadata is None else metadata.training
    known: dict[str, Any] = {key: training.get(key, "unknown") for key in _TRAINING}
    known |= {key: training.get(key, "none" if training else "unknown") for key in _EXTRA}
    known["started from"], known["augmentation"] = _from_run(trained.run)
    known["size of training windows as seen (px)"] = metadata.imgsz if metadata else "unknown"
    own = metadata.imgsz if metadata else "own"
    known["size at which a photo is seen (px)"] = row.imgsz or own
    known["anchors kept"] = (metadata.max_detections or "all") if metadata else "unknown"
    known["file"] = trained.file.suffix
    return {key: _words(value) for key, value in known.items()}


def _words(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(
        f"{name} {one:g}" if isinstance(one, float) else f"{name} {one}"
        for name, one in value.items()
    )


def _from_run(run: Path | None) -> tuple[str, str]:
    """Which weights a run started from, and its augmentation, as its ``run.json`` says."""
    if run is None:
        return "unknown", "unknown"
    try:
        values = json.loads((run / "run.json").read_text(encoding="utf-8"))
        config, start = values["config"], values["pretrained"]
        changed = {k: v for k, v in config["ultralytics"].items() if k != "max_det"}
        augment = config["augment"] or "ultralytics' own"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "unknown", "unknown"
    return (Path(start).name if start else "nothing"), f"{augment} ({_words(changed)})"


def unequal(known: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Each circumstance that is not the same for all models, with its values.

    Args:
        known: circumstances by name, of each model.
    """
    lines = []
    for key in dict.fromkeys(key for values in known.values() for key in values):
        models: dict[str, list[str]] = {}
        for model, values in known.items():
            models.setdefault(values.get(key, "unknown"), []).append(model)
        if len(models) > 1:
            said = "; ".join(f"{value} ({', '.join(of)})" for value, of in models.items())
            lines.append(f"{key}: {said}")
    return lines
