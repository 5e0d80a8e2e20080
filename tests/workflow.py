"""How the tests call the workflow and papermill: as a user does, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

from gbnlib import files

BIN = Path(sys.executable).parent
PROFILES = files.REPOSITORY / "workflow" / "profiles"


def environment(results: Path) -> dict[str, str]:
    """The environment of a call: the tools of this interpreter, results in a folder of their own."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "GBN_RESULTS": str(results), "PATH": path, "PYTHONPATH": str(files.REPOSITORY)}


def reproduce(results: Path, *settings: str, options: tuple[str, ...] = ("--cores", "2")) -> str:
    """What `make reproduce SCALE=smoke` calls, or with other settings and options; its whole output."""
    call = [BIN / "snakemake", "--profile", PROFILES / "local", *options, "--config", "scale=smoke", *settings]
    done = subprocess.run(
        call, cwd=files.REPOSITORY, env=environment(results), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def stamps(results: Path, kind: str = "runs") -> dict[str, int]:
    """When each run, or measurement, was finished."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (results / kind).glob("*/done.json")}


def execute(results: Path, folder: Path, name: str, *parameters: str) -> subprocess.CompletedProcess:
    """Plain papermill from another folder."""
    source = files.REPOSITORY / "notebooks" / f"{name}.ipynb"
    call = [BIN / "papermill", "--no-progress-bar", source, folder / "out.ipynb", *parameters]
    return subprocess.run(call, cwd=folder, env=environment(results), capture_output=True, text=True, timeout=300)
