"""What ends the workflow, `make` or papermill before anything is trained, and the reason that each gives."""

import os
import subprocess
from pathlib import Path

import pytest

from gbnlib import files
from tests.workflow import BIN, PROFILES, environment, execute


@pytest.mark.parametrize(
    ("options", "variables", "message"),
    [
        (("--config", "scale=tiny"), {}, "gbn: unknown scale 'tiny'. Allowed: smoke, quick, desk, paper."),
        (("--cores", "0"), {}, "gbn: no cores, no jobs: JOBS, or --cores, must be at least 1."),
        ((), {"GBN_DATA": "{}"}, "gbn: {}/catalog.toml: "),
        ((), {"GBN_RESULTS": "{}/catalog.toml"}, "gbn: cannot write to {}/catalog.toml"),
        ((), {"HOME": "{}/catalog.toml", "XDG_CACHE_HOME": ""}, "Not a directory: '{}/catalog.toml/.cache'"),
    ],
)
def test_the_workflow_says_why_it_ends(tmp_path: Path, options, variables: dict, message: str) -> None:
    (tmp_path / "catalog.toml").write_text("x = [")
    own = {name: value.format(tmp_path) for name, value in variables.items()}
    call = [BIN / "snakemake", "--profile", PROFILES / "local", "--cores", "1"]
    settings = ["--config", "scale=smoke", "train=false", *options] if options[:1] != ("--config",) else options
    done = subprocess.run(
        [*call, *settings],
        cwd=files.REPOSITORY,
        env={**environment(tmp_path / "results"), **own},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and message.format(tmp_path) in done.stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("JOBS=0", "JOBS is '0'; it must be a whole number, 1 or more"),
        ("JOBS=two", "JOBS is 'two'; it must be"),
        ("HOME=/dev/null", "cannot write to /dev/null/.cache: set XDG_CACHE_HOME to a folder you may write to"),
    ],
)
def test_make_refuses_what_snakemake_would_wait_for(setting: str, message: str) -> None:
    known = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    done = subprocess.run(["make", "ready", setting], cwd=files.REPOSITORY, env=known, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith(message)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (["-p", "sede", "3"], "unknown parameter 'sede'; did you mean 'seeds'"),
        (["-p", "scale", "huge"], "unknown scale 'huge'"),
        (["-p", "seeds", "many"], "seeds is 'many'; it must be a whole number"),
    ],
)
def test_wrong_parameters_end_papermill_with_the_reason(tmp_path, parameters, message) -> None:
    done = execute(tmp_path / "results", tmp_path, "04_table1_validation_accuracy", *parameters)
    assert done.returncode != 0 and message in done.stderr
