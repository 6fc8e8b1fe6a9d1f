"""The wheel, as a stranger installs it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_package_and_its_configs_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"deal_yolo", next(t for t in tops if t.endswith(".dist-info"))}
    shipped = {n for n in names if n.startswith("deal_yolo/configs/")}
    own = {f"deal_yolo/{p.relative_to(ROOT)}" for p in (ROOT / "configs").rglob("*.yaml")}
    assert shipped == own
    assert any(n.endswith("LICENSE") for n in names)


def test_models_are_found_from_an_installed_wheel_in_an_empty_folder(
    wheel: Path, tmp_path: Path
) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    zipfile.ZipFile(wheel).extractall(site)
    program = (
        "import sys, deal_yolo; from deal_yolo.cli.main import run;"
        "assert deal_yolo.__file__.startswith(sys.argv[1]), deal_yolo.__file__;"
        "sys.exit(run(['info', '--model', 'deal-yolo', '--nc', '6', '--imgsz', '64', '--json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(site)],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert '"parameters": 997202' in done.stdout


def test_the_base_install_needs_neither_torch_nor_ultralytics(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    path = next(n for n in archive.namelist() if n.endswith("METADATA"))
    lines = archive.read(path).decode().splitlines()
    base = {
        line.split(":")[1].split(">")[0].split(";")[0].strip()
        for line in lines
        if line.startswith("Requires-Dist:") and "extra ==" not in line
    }
    assert base == {"numpy", "opencv-python", "onnxruntime", "pyyaml", "typer", "rich"}
