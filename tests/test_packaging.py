"""The ways to install agree, and the wheel needs torch alone."""

import ast
import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DIRECT = [Requirement(line) for line in PROJECT["dependencies"] + EXTRAS["suite"] + EXTRAS["dev"]]


def locked() -> dict[str, Requirement]:
    """The lines of requirements.lock by name."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def version(requirement: Requirement) -> str:
    """The one version that a locked line allows."""
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", f"{requirement} is not exact"
    return specifier.version


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_each_direct_dependency_is_locked_inside_its_range(requirement):
    assert version(locked()[canonicalize_name(requirement.name)]) in requirement.specifier


def test_only_torch_is_a_hard_dependency():
    assert [Requirement(line).name for line in PROJECT["dependencies"]] == ["torch"]


def test_lock_is_what_is_installed():
    """So the tests say something about the versions that a user gets."""
    for name, requirement in locked().items():
        if requirement.marker is None:
            assert metadata.version(name).split("+")[0] == version(requirement), name


def test_lock_is_closed_under_requirements():
    """Nothing is left for pip to choose on the day of the installation."""
    lock = locked()
    missing = {name: sorted(needs(name) - set(lock)) for name in lock if lock[name].marker is None}
    assert not {name: names for name, names in missing.items() if names}


def test_lock_marks_what_only_exists_for_cuda_machines():
    cuda = {name for name in locked() if re.match(r"nvidia-|cuda-|triton$", name)}
    assert cuda and all("x86_64" in str(locked()[name].marker) for name in cuda)
    assert all(requirement.marker is None for name, requirement in locked().items() if name not in cuda)


def test_conda_environment_installs_the_lock_and_the_package():
    *packages, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert packages == ["python=3.11", "pip"]
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}
    assert "3.11" in Requirement(f"python{PROJECT['requires-python']}").specifier


def test_every_import_of_the_package_is_declared():
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"] + EXTRAS["suite"]}
    owners = metadata.packages_distributions()
    for path in sorted((ROOT / "gbnlib").rglob("*.py")):
        for module in imported(path) - sys.stdlib_module_names - {"gbnlib", "triton"}:  # which torch brings for GPUs
            names = {canonicalize_name(name) for name in owners.get(module, [])}
            assert names & declared, f"{path.relative_to(ROOT)} imports {module}, which pyproject.toml does not declare"


def imported(path: Path) -> set[str]:
    """Top-level names of the absolute imports in a file, wherever they stand."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level and node.module]
    return {name.split(".")[0] for name in names}


def needs(name: str) -> set[str]:
    """Names that an installed distribution requires here."""
    lines = [Requirement(line) for line in metadata.requires(name) or []]
    return {canonicalize_name(line.name) for line in lines if not line.marker or line.marker.evaluate({"extra": ""})}


def closure(*names: str) -> set[str]:
    """The names and all that they require, as far as it is installed."""
    found, todo = set(), {canonicalize_name(name) for name in names}
    while todo:
        name = todo.pop()
        found.add(name)
        try:
            todo |= needs(name) - found
        except metadata.PackageNotFoundError:
            continue  # CUDA libraries, left out by CPU=1
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel's content, built from a copy of the sources (a build writes beside them) and installed by pip."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "gbnlib", source / "gbnlib", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    python = [sys.executable, "-m"]
    built = [*python, "build", "--wheel", "--no-isolation", "--outdir", source / "dist", source]
    subprocess.run(built, check=True, capture_output=True)
    (file,) = (source / "dist").glob("*.whl")
    subprocess.run([*python, "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, file], check=True)
    return target


def test_wheel_holds_every_file_of_the_package(wheel):
    def files(root: Path) -> set[str]:
        paths = (path for path in (root / "gbnlib").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {str(path.relative_to(root)) for path in paths}

    assert {"gbnlib/py.typed", "gbnlib/data/catalog.toml", "gbnlib/paper/criteria.toml"} <= files(wheel)
    assert any(name.startswith("gbnlib/report/site/") for name in files(wheel))
    assert files(wheel) == files(ROOT)


# Runs without site-packages of its own (-S): the wheel first, then the folder torch is in, with all else refused.
ALONE = """
import importlib.abc, json, sys
target, site, refused, modules, expected = json.loads(sys.argv[1])
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in refused:
            raise ModuleNotFoundError(f"refused: {name}", name=name)
sys.meta_path.insert(0, Refuse())
sys.path[:0] = [target, site]
for module in modules:
    assert __import__(module, fromlist=["_"]).__file__.startswith(target), module
print(json.dumps([name for name in expected if name in sys.modules]))
"""


def import_alone(wheel: Path, *modules: str, allowed: set[str], looked_for: list[str]) -> list[str]:
    """Import modules of the wheel where only the `allowed` distributions exist; return which of `looked_for` came."""
    owners = metadata.packages_distributions().items()
    allowed = allowed | {"gbnlib"}
    refused = [name for name, dists in owners if not {canonicalize_name(dist) for dist in dists} & allowed]
    site = str(metadata.distribution("torch").locate_file("").resolve())
    argument = json.dumps([str(wheel), site, refused, modules, looked_for])
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", ALONE, argument]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("module", "imported"), [("gbnlib.nn", ["torch"]), ("gbnlib.regimes", []), ("gbnlib.regimes.scheduler", ["torch"])]
)
def test_wheel_works_with_torch_alone(wheel, module, imported):
    looked_for = ["torch", "numpy", "pandas", "pydantic", "scipy", "torchvision", "typer"]
    assert import_alone(wheel, module, allowed=closure("torch"), looked_for=looked_for) == imported


def test_importing_the_package_imports_nothing_else(wheel):
    looked_for = ["torch", "numpy", "pandas", "gbnlib.nn", "gbnlib.regimes", "gbnlib.experiments"]
    assert import_alone(wheel, "gbnlib", allowed=set(), looked_for=looked_for) == []


@pytest.mark.parametrize("package", ["data", "experiments", "regimes"])
def test_every_public_name_is_there(package):
    module = importlib.import_module(f"gbnlib.{package}")
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert inspect.ismodule(getattr(module, name)) == (name == "measurements")


def test_lazy_names_are_those_of_their_homes():
    import gbnlib
    from gbnlib import experiments, nn, regimes

    for name in gbnlib.__all__:
        home = next(module for module in (nn, regimes, experiments) if hasattr(module, name))
        assert getattr(gbnlib, name) is getattr(home, name)
        assert name in dir(gbnlib)
    with pytest.raises(AttributeError, match="no attribute 'GhostBatchNorm4d'"):
        _ = gbnlib.GhostBatchNorm4d


def test_versions_agree(wheel):
    import gbnlib

    (built,) = metadata.distributions(name="gbnlib", path=[str(wheel)])
    assert built.version == gbnlib.__version__
    assert str(yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]) == gbnlib.__version__
    assert f"## [{gbnlib.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_citation_names_the_paper_first():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    paper = citation["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == ["Hoffer", "Hubara", "Soudry"]
    assert paper["title"].startswith("Train longer, generalize better") and paper["year"] == 2017
    assert "paper first" in citation["message"]


def test_make_commands_in_the_texts_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.M))
    assert targets == {"help", "setup", "ready", "reproduce", "report", "lab", "test", "lint", "bench", "clean"}
    variables = set(re.findall(r"^(\w+) \?=", makefile, re.M))
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text()
        code = "\n".join(re.findall(r"^```.*?^```", text, re.M | re.S) + re.findall(r"`(make [^`]+)`", text))
        commands = re.findall(r"\bmake ([^#&|;\n]+)", code)
        assert commands, name
        for words in map(str.split, commands):
            assert {word for word in words if "=" not in word} <= targets, f"{name}: make {words}"
            assert {word.split("=")[0] for word in words if "=" in word} <= variables, f"{name}: make {words}"


def test_make_help_lists_every_target_and_needs_no_setup():
    result = subprocess.run(["make", "-s", "-C", ROOT], capture_output=True, text=True, check=True)
    listed = re.findall(r"^  make (\w+) ", result.stdout, re.M)
    assert {"setup", "reproduce", "report", "lab", "test", "lint", "bench", "clean"} <= set(listed)


def test_make_lab_opens_copies_and_loses_no_edit(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    notebooks, copies = tmp_path / "notebooks", tmp_path / "results" / "lab"
    notebooks.mkdir()
    (notebooks / "a.ipynb").write_text("tracked")
    jupyter = tmp_path / "bin" / "jupyter"
    jupyter.parent.mkdir()
    jupyter.write_text('#!/bin/sh\necho "opened $2"\n')
    jupyter.chmod(0o755)
    lab = ["make", "-s", "-C", tmp_path, "-o", "setup", "lab", "BIN=bin"]
    assert "opened results/lab" in subprocess.run(lab, capture_output=True, text=True, check=True).stdout
    (copies / "a.ipynb").write_text("edited")
    os.utime(notebooks / "a.ipynb", (0, 0))
    subprocess.run(lab, capture_output=True, check=True)
    assert (copies / "a.ipynb").read_text() == "edited" and (notebooks / "a.ipynb").read_text() == "tracked"
    (notebooks / "a.ipynb").write_text("newer")
    os.utime(copies / "a.ipynb", (0, 0))
    subprocess.run(lab, capture_output=True, check=True)
    assert ((copies / "a.ipynb").read_text(), (copies / "a.ipynb.old").read_text()) == ("newer", "edited")


def test_make_names_the_python_it_needs(tmp_path):
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "setup.py", "gbnlib/nn/kernel.cpp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    result = subprocess.run(["make", "-C", tmp_path, "setup", "PYTHON=nopython"], capture_output=True, text=True)
    assert result.returncode != 0 and not (tmp_path / ".venv").exists()
    assert 'Python 3.11 is needed and "nopython" is not it' in result.stderr
