import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deal_yolo import __version__
from deal_yolo.cli.main import app, run
from deal_yolo.errors import MissingExtraError, require

HEAVY = {"torch", "ultralytics", "supervision", "onnxruntime", "matplotlib", "albumentations"}
COMMANDS = [c.name for c in app.registered_commands] + [g.name for g in app.registered_groups]


@pytest.mark.parametrize("arguments", [[], ["data"]])
def test_without_a_command_there_is_help_and_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("Usage: deal-yolo") and not printed.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["info"], "Missing option '--model'"),
        (["info", "--model", "deal-yolo", "--nc", "six"], "'--nc'"),
        (["info", "--model", "deal-yolo", "--wrong"], "No such option: --wrong"),
        (["info", "--model", "no-such-model"], "no models configuration 'no-such-model'"),
        (["train"], "--data YAML"),
        (["train", "--data", "no-such-set"], "no data configuration 'no-such-set'"),
        (["train", "--data", "sample", "--recipe", "none"], "no train configuration 'none'"),
        (["train", "--data", "sample", "--out", "x"], "no split 'train'"),
        (["train", "--resume", "--out", "no-such-folder"], "no training run in"),
        (["val", "--weights", "none.onnx", "--data", "sample"], "val takes .safetensors"),
        (["val", "--weights", "none.safetensors", "--data", "sample"], "cannot read"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and message in printed.err
    assert printed.err.count("\n") == 1 and not printed.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    assert f"deal-yolo {command}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"deal-yolo {__version__}\n"


def test_info_prints_the_contracts_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "--model", "deal-yolo", "--nc", "6", "--imgsz", "64", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["parameters"] == 997_202 and values["parameters_fused"] == 994_114
    assert values["strides"] == [4, 8, 16] and values["nc"] == 6 and values["gflops"] > 0


@pytest.mark.parametrize("code", ["import deal_yolo", "from deal_yolo.cli.main import run"])
def test_importing_loads_nothing_heavy(code: str) -> None:
    program = f"{code}; import sys; print(*{{m.partition('.')[0] for m in sys.modules}})"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    assert HEAVY.isdisjoint(loaded)


def test_a_missing_extra_names_the_pip_command() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'deal-yolo\[footage\]'"):
        require("no_such_package_at_all.part", "footage")


def test_commands_without_their_extra_say_which(tmp_path: Path) -> None:
    """As where only the edge install is: torch and ultralytics cannot be imported."""
    block = "import sys; sys.modules['torch'] = sys.modules['ultralytics'] = None;"
    program = f"{block} from deal_yolo.cli.main import run; sys.exit(run(sys.argv[1:]))"
    for arguments in (["info", "--model", "deal-yolo"], ["train", "--data", "sample"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True
        )
        assert done.returncode == 2
        assert re.fullmatch(r"error: ultralytics is not installed: .*\[train\]'\n", done.stderr)
