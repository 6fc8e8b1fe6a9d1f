"""Training in several processes, one for each GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deal_yolo.errors import DealYoloError


def launch(run: Path, processes: int, resume: bool) -> None:
    """Train the run in folder ``run`` in ``processes`` processes of this machine.

    Ultralytics' own launch hands its trainer over as a pickled file and deletes the run's folder
    first; these processes read the run from its folder.

    Raises:
        DealYoloError: one of them failed.
    """
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    module = ["-m", "deal_yolo.train", str(run), *(["--resume"] if resume else [])]
    command = [*torchrun, "--nproc-per-node", str(processes), *module]
    if subprocess.run(command, check=False).returncode:
        raise DealYoloError(f"training in {processes} processes failed: see the messages above")
