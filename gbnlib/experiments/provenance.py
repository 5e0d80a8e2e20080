"""Where a result comes from: hardware, versions, commit. No user, host, home or environment is recorded."""

import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import gbnlib
from gbnlib import data, files
from gbnlib.experiments.config import ENGINE

if TYPE_CHECKING:
    import torch


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@cache
def software() -> dict:
    """Versions, and the commit of the code with a flag for changes that are not in it."""
    return {
        "gbnlib": gbnlib.__version__,
        "engine": ENGINE,
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
    }


def machine() -> dict:
    """System and processor."""
    return {"system": f"{platform.system()} {platform.machine()}", "cpu": _cpu_name()}


def hardware(device: "torch.device | str" = "cpu") -> dict:
    """The machine, its instruction set as PyTorch sees it; and if a GPU is used, what decides its arithmetic."""
    import torch

    from gbnlib.nn import kernel

    found = {
        **machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "kernel": kernel.NAME,
        "device": torch.device(device).type,
    }
    if found["device"] == "cuda":
        found |= {
            "gpu": torch.cuda.get_device_name(device),
            "driver": _driver(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "tf32_products": torch.backends.cuda.matmul.fp32_precision == "tf32",
            "tf32_convolutions": torch.backends.cudnn.conv.fp32_precision == "tf32",
        }
    return found


def processor(device: "torch.device") -> str:
    """What decides the bits of a training, given threads and versions: the GPU and its cuDNN, or the CPU."""
    import torch

    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, cuDNN {torch.backends.cudnn.version()}"
    return f"{_cpu_name()}, {torch.backends.cpu.get_cpu_capability()}"


def dataset(name: str) -> dict:
    """Label and checksums of a data set."""
    card = data.card(name)
    return {"data": card.label, "data_sha256": card.files}


def peak_memory_mb(device: "torch.device") -> float:
    """Largest memory used so far, of the GPU if one is used, else of this process."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _git(*arguments: str) -> str:
    """What git says about the code, or nothing where it is not in a repository."""
    try:
        call = ["git", "-C", str(files.REPOSITORY), *arguments]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _driver(path: Path = Path("/proc/driver/nvidia/version")) -> str:
    """The version of the GPU's driver, or nothing where the system does not tell."""
    try:
        found = re.search(r"\b\d{3,}\.\d+(\.\d+)*", path.read_text())
    except OSError:
        return ""
    return found[0] if found else ""


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
