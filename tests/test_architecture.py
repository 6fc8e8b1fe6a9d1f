"""Layers import downward only."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "deal_yolo"

# Each room and the rooms it may import besides itself.
BASE = {"errors", "config", "metadata", "detections", "boxes"}
ALLOWED = {
    "errors": set(),
    "config": {"errors"},
    "metadata": {"errors", "config"},
    "detections": {"errors"},
    "boxes": {"errors"},
    "model": BASE,
    "datasets": BASE,
    "train": BASE | {"model", "datasets"},
    "infer": BASE | {"model"},
    "evaluate": BASE | {"model", "datasets", "infer"},
    "export": BASE | {"model", "datasets", "infer", "evaluate"},
    "report": BASE,
    "cli": BASE | {"model", "datasets", "train", "infer", "evaluate", "export", "report"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        parts = [name.split(".") for name in names]
        rooms |= {p[1] for p in parts if p[0] == "deal_yolo" and len(p) > 1}
    return rooms - {"__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downward(path: Path) -> None:
    own = room(path)
    if own == "__init__":
        assert not imported(path)
        return
    assert imported(path) <= ALLOWED[own] | {own}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 320
