"""Rows of several trainings, sections, windows, other people's weights, and training itself."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deal_yolo.cli.main import app
from deal_yolo.config import from_mapping
from deal_yolo.errors import ConfigError, WeightsError
from deal_yolo.evaluate.compare import Comparison, compare
from deal_yolo.evaluate.equal import circumstances, unequal
from deal_yolo.evaluate.markdown import to_markdown
from deal_yolo.evaluate.models import Latency, Trained
from deal_yolo.evaluate.plan import CompareConfig, RowConfig, Training
from deal_yolo.evaluate.plots import write_plots
from deal_yolo.evaluate.provenance import provenance
from tests.evaluate.made import save_dataset
from tests.infer.graph import metadata, save_graph


class Shelf:
    """Tools that give a graph for whatever they are asked to export, and write down what for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def train(self, name: str, training: Training, seed: int) -> Path:
        raise AssertionError("nothing must be trained")

    def export(self, weights: Path, out: Path, max_detections: int) -> None:
        self.asked.append((weights.name, max_detections))
        save_graph(out)

    def latency(self, files: Sequence[Path], imgsz: int, threads: int | None) -> list[Latency]:
        self.asked.append(("latency", [file.name for file in files], imgsz))
        return [Latency(10.0 * n, float(n)) for n in range(1, len(files) + 1)]


def compared(values: dict[str, Any], folder: Path, tools: Shelf | None = None) -> Comparison:
    config = from_mapping(CompareConfig, {"bootstrap": 20, **values}, "run")
    return compare(config, folder, tools or Shelf())


def windows_yaml(data: Path) -> Path:
    file = data.with_name("windows.yaml")
    file.write_text(data.read_text() + "tile: {size: 64, scales: [1.0, 0.5], real: 0.0}\n")
    return file


def test_trainings_of_a_row_are_one_row_with_each_ones_figure(
    tmp_path: Path, data: Path, weights: Path
) -> None:
    blind = save_graph(tmp_path / "blind.onnx", meta=metadata(imgsz=16))
    rows = {"two": {"weights": f"{weights}, {blind}"}, "one": {"weights": str(weights)}}
    result = compared({"data": str(data), "rows": rows}, tmp_path / "out")
    (table,) = result.tables
    entry = table.entries["two, whole"]
    each = [table.evaluation.scores[key].AP50.value for key in entry.keys]
    assert each[0] > each[1]
    assert table.figures(entry)["AP50"].value == pytest.approx(sum(each) / 2)
    text = to_markdown(result, "t", provenance(["x"]), [[], []])
    assert f"({each[0]:.3f}, {each[1]:.3f})" in text
    assert "size at which a photo is seen (px): 64, 16 (two); 64 (one)" in text
    assert "| one, whole | two |" in text


def test_sections_choose_rows_ways_and_windows(tmp_path: Path, data: Path, weights: Path) -> None:
    rows = {"a": {"weights": str(weights)}, "b": {"weights": str(weights)}}
    sections = [
        {"title": "Windows", "windows": str(windows_yaml(data)), "bins": "12"},
        {"title": "Ways", "rows": ["b"], "strategies": "whole, sliced:window=64"},
    ]
    tools = Shelf()
    plan = {"data": str(data), "rows": rows, "sections": sections, "latency": 64, "bins": "20"}
    result = compared(plan, tmp_path / "out", tools)
    windows, ways = result.tables
    assert list(ways.entries) == ["b, whole", "b, sliced:window=64"]
    # A photo and its half are a window each; seen at half size its squares of 16 px are 8 px.
    assert len(windows.evaluation.split.images) == 6
    first = windows.entries["a, whole"]
    assert list(windows.by_size(first)) == ["0-12", "12+"]
    assert list(windows.by_size(first, native=True)) == ["0-20"]
    assert windows.evaluation.units.kind == "source"
    assert result.latency == {"a": (10, 1), "b": (20, 2)}
    plots = write_plots(result, tmp_path / "out", "page")
    assert [len(files) for files in plots] == [4, 3, 0]
    text = to_markdown(result, "t", provenance(["x"]), plots)
    assert "## Windows" in text
    assert "20.0 (2.00)" in text
    assert "20.0 (1.00)" in text
    assert "page-2-seconds.png" in text
    assert compared(plan, tmp_path / "out", tools).latency == result.latency
    assert tools.asked == [("latency", ["squares.onnx", "squares.onnx"], 64)]


def test_windows_need_a_tile_block(tmp_path: Path, data: Path, weights: Path) -> None:
    plan = {"data": str(data), "rows": {"a": {"weights": str(weights)}}}
    with pytest.raises(ConfigError, match="no 'tile' block"):
        compared({**plan, "sections": [{"windows": str(data)}]}, tmp_path / "out")


def test_a_row_of_a_section_must_be_there(data: Path) -> None:
    plan = {"data": str(data), "rows": {"a": {"weights": "w"}}, "sections": [{"rows": ["b"]}]}
    with pytest.raises(ConfigError, match="names no row: 'b'"):
        from_mapping(CompareConfig, plan, "run")


def test_a_rows_settings_stand_over_the_common_ones() -> None:
    rows = {"a": {"train": {"model": "m", "epochs": 3}}}
    common = {"epochs": 9, "batch": 4, "seeds": [1, 2]}
    config = from_mapping(CompareConfig, {"data": "d", "rows": rows, "train": common}, "run")
    training = config.training_of(config.rows["a"])
    given = {name: value for name, value in training.options.items() if value is not None}
    assert given == {"epochs": 3, "batch": 4}
    assert (training.seeds, training.data, training.recipe) == ((1, 2), "d", "default")


@pytest.mark.filterwarnings("ignore")
def test_a_pt_file_is_read_without_its_code(tmp_path: Path, data: Path) -> None:
    torch = pytest.importorskip("torch")
    from deal_yolo.export.onnx import export_onnx
    from deal_yolo.model.network import build_model

    class Real(Shelf):
        def export(self, weights: Path, out: Path, max_detections: int) -> None:
            export_onnx(weights, out, max_detections=max_detections)

    file = tmp_path / "theirs.pt"
    torch.save({"model": build_model("yolov8n.yaml", 2).state_dict()}, file)
    row = {"weights": str(file), "model": "yolov8n.yaml", "imgsz": 64}
    result = compared({"data": str(data), "rows": {"theirs": row}}, tmp_path / "out", Real())
    assert result.tables[0].entries["theirs, whole"].parameters == 3_006_038
    for wrong, message in (
        ({"weights": str(file)}, "say which model"),
        ({**row, "model": "yolo11n.yaml"}, "does not hold yolo11n.yaml with the 2 classes"),
    ):
        with pytest.raises(WeightsError, match=message):
            compared({"data": str(data), "rows": {"theirs": wrong}}, tmp_path / "other")


def test_a_folder_without_weights_is_named(tmp_path: Path, data: Path) -> None:
    (tmp_path / "run").mkdir()
    rows = {"a": {"weights": str(tmp_path / "run")}}
    with pytest.raises(WeightsError, match="is it the folder of a run"):
        compared({"data": str(data), "rows": rows}, tmp_path / "out")


def test_what_runs_say_of_themselves_is_held_together(tmp_path: Path) -> None:
    for name, start in (("a", "coco.pt"), ("b", None)):
        (tmp_path / name).mkdir()
        config = {"augment": None, "ultralytics": {"nbs": 8}}
        run = {"config": config, "pretrained": start}
        (tmp_path / name / "run.json").write_text(json.dumps(run))
    row = RowConfig(weights="x")
    known = {
        name: circumstances(row, [Trained(Path("w.onnx"), metadata(), run=tmp_path / name)])
        for name in "ab"
    }
    assert unequal(known) == ["started from: coco.pt (a); nothing (b)"]


def trainable(root: Path) -> Path:
    """A data set whose train, val and test are coloured squares."""
    data = save_dataset(root)
    for listed in root.glob("*.txt"):
        listed.write_text(listed.read_text().replace("images/", "./images/"))
    data.write_text(data.read_text().replace("train.txt", "val.txt"))
    return data


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_models_are_trained_once_gone_on_with_and_not_taken_for_others(tmp_path: Path) -> None:
    data, file, out = trainable(tmp_path / "data"), tmp_path / "run.yaml", tmp_path / "out"

    def run(epochs: int) -> Any:
        common = f"{{epochs: {epochs}, imgsz: 64, batch: 2, seeds: [0, 1], device: cpu}}"
        taught = (
            f"{{model: deal-yolo-edge, seeds: [0], teacher: {out}/runs/ours-s0/best.safetensors}}"
        )
        rows = (
            "{ours: {train: {model: deal-yolo}}, stock: {train: {model: yolo11n.yaml}}, "
            f"taught: {{train: {taught}}}}}"
        )
        file.write_text(f"data: {data}\ntrain: {common}\nrows: {rows}\nbootstrap: 5\n")
        return CliRunner().invoke(app, ["compare", str(file), "--out", str(out)])

    first = run(1)
    assert first.exit_code == 0, first.output
    best = sorted(out.glob("runs/*/best.safetensors"))
    assert [p.parent.name for p in best] == [
        "ours-s0",
        "ours-s1",
        "stock-s0",
        "stock-s1",
        "taught-s0",
    ]
    made = [p.stat().st_mtime_ns for p in best]
    assert (out / "run-curves.png").is_file()
    unlike = json.loads((out / "run.json").read_text())["sections"][0]["unequal"]
    assert "teacher: none (ours, stock); best.safetensors (taught)" in unlike
    shutil.rmtree(out / "runs" / "ours-s1")
    assert run(1).exit_code == 0
    again = [p.stat().st_mtime_ns for p in best]
    assert [a == b for a, b in zip(made, again, strict=True)] == [True, False, True, True, True]
    assert "trained otherwise" in str(run(2).exception)
