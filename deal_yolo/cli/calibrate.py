"""``deal-yolo calibrate``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from deal_yolo.config import RefineConfig, find_config, load
from deal_yolo.errors import WeightsError, require


def calibrate(
    weights: Annotated[Path, typer.Option(help="Weights, .safetensors; written anew.")],
    data: Annotated[str, typer.Option(help="Data YAML, or the name of a shipped one.")],
    split: Annotated[str, typer.Option(help="Photos that were not trained on.")] = "val",
    refine: Annotated[
        str | None, typer.Option(help="YAML of the second look; default: the weights' own.")
    ] = None,
    fit_window: Annotated[
        bool, typer.Option(help="Fit the side of a window too, or keep that of the YAML.")
    ] = True,
) -> None:
    """Fit the second look and the score threshold on photos, and keep them with the weights."""
    require("ultralytics", "train")
    if weights.suffix != ".safetensors":
        raise WeightsError(f"{weights}: give .safetensors, then export it again")
    from deal_yolo.datasets.dataset import load_dataset
    from deal_yolo.evaluate import calibrate as fitting
    from deal_yolo.evaluate.split import load_split
    from deal_yolo.infer.detector import load_detector
    from deal_yolo.model.checkpoint import load_model, save_model

    console = Console(stderr=True)
    photos = load_split(load_dataset(find_config("data", data)), split)
    model, metadata = load_model(weights)
    rule = load(RefineConfig, find_config("refine", refine)) if refine else metadata.refine
    fitted = fitting.calibrate(
        load_detector(weights),
        rule,
        photos,
        lambda many: track(many, "looking", console=console),
        fit_window,
    )
    training = fitting.fitted_into(metadata.training, fitted, photos)
    metadata = dataclasses.replace(
        metadata,
        refine=fitted.refine,
        score_threshold=fitted.score_threshold,
        training=training,
    )
    save_model(model, metadata, weights)
    console.print(
        f"{weights}: AP50 {fitted.ap50:.3f} with a second look, {fitted.ap50_whole:.3f} without; "
        f"{fitted.windows:.1f} windows of {fitted.refine.window} px a photo, least gain "
        f"{fitted.refine.least_gain:g}; the first look weighs {fitted.refine.first_weight:g} in "
        f"the scores; best F1 from score {fitted.score_threshold:g}",
        highlight=False,
    )
