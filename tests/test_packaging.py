"""The ways to install agree, and the wheel needs torch alone."""

import ast
import importlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DIRECT = [Requirement(line) for line in PROJECT["dependencies"] + EXTRAS["suite"] + EXTRAS["dev"]]
PYTHONS = ("3.11", "3.12", "3.13")
INSTALLED = {canonicalize_name(each.name) for each in metadata.distributions()}
CUDA = re.compile(r"nvidia-|cuda-|triton$")
parse = cache(Requirement)
SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "arm": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "aarch64"},
    "mac": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
}


def environment(python: str, system: str = "linux") -> dict[str, str]:
    """What markers are evaluated in."""
    versions = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    return default_environment() | versions | SYSTEMS[system]


def parsed(lines: list[str], environment: dict[str, str] | None) -> list[Requirement]:
    """The requirements among some lines that hold in an environment: this one by default."""
    requirements = [parse(line) for line in lines if not line.startswith("#")]
    return [
        each for each in requirements if not each.marker or each.marker.evaluate({"extra": ""} | (environment or {}))
    ]


def locked(environment: dict[str, str] | None = None, lock: str = "requirements.lock") -> dict[str, Requirement]:
    """The lines of a lock that hold in an environment, by name."""
    held = parsed((ROOT / lock).read_text().splitlines(), environment)
    found = {canonicalize_name(requirement.name): requirement for requirement in held}
    assert len(found) == len(held), "one environment has two versions of a package"
    return found


def version(requirement: Requirement) -> str:
    """The one version that a locked line allows."""
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", f"{requirement} is not exact"
    return specifier.version


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_each_direct_dependency_is_locked_inside_its_range(requirement):
    for python in PYTHONS:
        lock = locked(environment(python))
        assert version(lock[canonicalize_name(requirement.name)]) in requirement.specifier, python


@pytest.mark.parametrize("python", PYTHONS)
def test_the_integrations_are_locked_inside_their_ranges_and_change_nothing_else(python):
    lock, own = locked(environment(python)), locked(environment(python), "requirements-integrations.lock")
    for requirement in map(Requirement, EXTRAS["integrations"]):
        assert version(own[canonicalize_name(requirement.name)]) in requirement.specifier
    assert {name: version(lock[name]) for name in lock.keys() & own.keys()} == {
        name: version(own[name]) for name in lock.keys() & own.keys()
    }


def test_every_place_names_the_same_pythons():
    named = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in PROJECT["classifiers"]]
    assert tuple(match[1] for match in named if match) == PYTHONS
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][0]
    makefile = (ROOT / "Makefile").read_text()
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in makefile and "Python 3.11, 3.12 or 3.13" in makefile
    for minor in range(9, 16):
        assert (f"3.{minor}" in Requirement(conda).specifier) == (f"3.{minor}" in PYTHONS), minor
    assert all(python in SpecifierSet(PROJECT["requires-python"]) for python in PYTHONS)
    for name in ("README.md", "CONTRIBUTING.md"):
        assert "Python 3.11, 3.12 or 3.13" in (ROOT / name).read_text()
    assert f"--python-version {PYTHONS[0]}" in (ROOT / "requirements.lock").read_text()


@pytest.mark.parametrize("python", PYTHONS)
def test_sources_compile_without_a_warning(python):
    call = [f"python{python}", "-W", "error", "-c", COMPILE, *map(str, python_files())]
    try:  # pyenv's stand-ins ask PYENV_VERSION which one is meant
        result = subprocess.run(call, env=os.environ | {"PYENV_VERSION": python}, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"there is no python{python} here")
    if "pyenv: " in result.stderr:
        pytest.skip(f"pyenv has no {python}")
    assert result.returncode == 0, result.stderr


COMPILE = "import sys, pathlib; [compile(pathlib.Path(name).read_bytes(), name, 'exec') for name in sys.argv[1:]]"


def python_files() -> list[Path]:
    """All Python that is shipped or tested, but for notebooks and workflow."""
    folders = [path for name in ("gbnlib", "tests", "benchmarks") for path in (ROOT / name).rglob("*.py")]
    return [ROOT / "setup.py", *sorted(folders)]


def test_only_torch_is_a_hard_dependency():
    assert [Requirement(line).name for line in PROJECT["dependencies"]] == ["torch"]


def test_lock_is_what_is_installed():
    """So the tests say something about the versions that a user gets."""
    for name, requirement in locked().items():
        if not CUDA.match(name):  # left out by CPU=1
            assert metadata.version(name).split("+")[0] == version(requirement), name


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_lock_is_closed_under_requirements(python, system):
    """Nothing is left for pip to choose on the day of the installation, as far as this machine's packages can tell."""
    there = environment(python, system)
    lock = set(locked(there))
    missing = {name: sorted(needs(name, there) - lock) for name in lock & INSTALLED}
    assert not {name: names for name, names in missing.items() if names}


@pytest.mark.parametrize("python", PYTHONS)
def test_only_linux_takes_cuda_and_it_can_be_left_out(python):
    """`make setup CPU=1` finds the lines of torch and of CUDA by how they begin, and they must be the only ones."""
    cuda = {system: {name for name in locked(environment(python, system)) if CUDA.match(name)} for system in SYSTEMS}
    assert "nvidia-cudnn-cu13" in cuda["linux"] and not cuda["mac"] | cuda["windows"]
    torch, rest = re.findall(r"(sed -n?E '[^']+' requirements.lock)", (ROOT / "Makefile").read_text())
    assert re.sub(r"==.*", "", sed(torch)).split() == ["torch", "torchvision"]
    left_out = set((ROOT / "requirements.lock").read_text().splitlines()) - set(sed(rest).splitlines())
    assert {Requirement(line).name for line in left_out} == cuda["linux"]


def sed(command: str) -> str:
    """What a command of the Makefile prints."""
    return subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_conda_environment_installs_the_lock_and_the_package():
    *packages, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert packages[1:] == ["pip"] and pip == {"pip": ["-r requirements.lock", "-e ."]}


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


def needs(name: str, environment: dict[str, str] | None = None) -> set[str]:
    """Names that an installed distribution requires in an environment."""
    return {canonicalize_name(each.name) for each in parsed(metadata.requires(name) or [], environment)}


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


PIP_INSTALL = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target"]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the sdist, and the wheel made from it; the sources are copied since a build writes beside them."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("gbnlib", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", source / "dist", source]
    said = subprocess.run(build, check=True, capture_output=True, text=True)
    assert not re.search(r"deprecat|SetuptoolsWarning|no files found", said.stdout + said.stderr, re.I)
    return source / "dist"


@pytest.fixture(scope="module")
def wheel(built, tmp_path_factory) -> Path:
    """What pip installs from the wheel."""
    target = tmp_path_factory.mktemp("target")
    (file,) = built.glob("*.whl")
    subprocess.run([*PIP_INSTALL, target, file], check=True)
    return target


@pytest.fixture(scope="module")
def without_compiler(built, tmp_path_factory) -> Path:
    """What pip installs from the sdist where no compiler works."""
    target = tmp_path_factory.mktemp("loop")
    (file,) = built.glob("*.tar.gz")
    broken = os.environ | {"CC": "false", "CXX": "false"}
    subprocess.run([*PIP_INSTALL, target, "--no-build-isolation", file], check=True, env=broken)
    return target


def test_sdist_holds_the_package_and_nothing_else(built):
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2].partition("/")[0] for name in archive.getnames()} - {""}
    metadata_files = {"PKG-INFO", "setup.cfg", "gbnlib.egg-info"}
    assert names == {"LICENSE", "MANIFEST.in", "README.md", "gbnlib", "pyproject.toml", "setup.py"} | metadata_files


def test_wheel_holds_every_file_of_the_package(wheel):
    def files(root: Path) -> set[str]:
        paths = (path for path in (root / "gbnlib").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {str(path.relative_to(root)) for path in paths}

    assert {"gbnlib/py.typed", "gbnlib/data/catalog.toml", "gbnlib/paper/criteria.toml"} <= files(wheel)
    assert any(name.startswith("gbnlib/report/site/") for name in files(wheel))
    assert files(wheel) == files(ROOT)


@pytest.fixture(scope="module")
def torch_alone(tmp_path_factory) -> Path:
    """A folder with torch and what it requires, as links, and nothing else."""
    site = tmp_path_factory.mktemp("site")
    for name in closure("torch") & INSTALLED:
        paths = metadata.distribution(name).files or []
        for top in {path.parts[0] for path in paths} - {"..", "__pycache__"}:
            if not (site / top).exists():  # nvidia is in several packages
                (site / top).symlink_to(metadata.distribution(name).locate_file(top))
    return site


def run_alone(code: str, *folders: Path) -> subprocess.CompletedProcess:
    """Run code where the standard library and the packages in some folders are all there is."""
    start = f"import sys; sys.path[:0] = {list(map(str, folders))}\n"
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", start + code]
    return subprocess.run(command, capture_output=True, text=True)


def imported_with(module: str, *folders: Path, looked_for: list[str]) -> list[str]:
    """Import a module of the wheel, in the first folder; return which of `looked_for` came with it."""
    code = f"import {module}; print({module}.__file__, *(name for name in {looked_for} if name in sys.modules))"
    result = run_alone(code, *folders)
    assert result.returncode == 0 and result.stdout.startswith(str(folders[0])), result.stderr
    return result.stdout.split()[1:]


@pytest.mark.parametrize(
    ("module", "imported"), [("gbnlib.nn", ["torch"]), ("gbnlib.regimes", []), ("gbnlib.regimes.scheduler", ["torch"])]
)
def test_wheel_works_with_torch_alone(wheel, torch_alone, module, imported):
    looked_for = ["torch", "numpy", "pandas", "pydantic", "scipy", "torchvision", "typer"]
    assert imported_with(module, wheel, torch_alone, looked_for=looked_for) == imported


def test_importing_the_package_imports_nothing_else(wheel):
    looked_for = ["torch", "numpy", "pandas", "gbnlib.nn", "gbnlib.regimes", "gbnlib.experiments"]
    assert imported_with("gbnlib", wheel, looked_for=looked_for) == []


TRAIN = """
from gbnlib.nn import kernel
images, labels = torch.randn(64, 3, 8, 8), torch.randint(2, (64,))
model.append(torch.nn.Flatten()).append(torch.nn.LazyLinear(2))
losses = []
for _ in range(20):
    losses.append(torch.nn.functional.cross_entropy(model(images), labels))
    optimizer.zero_grad()
    losses[-1].backward()
    optimizer.step()
    scheduler.step()
assert losses[-1] < losses[0] and model[1].ghost_size == 32
print(kernel.NAME)
"""


@pytest.mark.parametrize("installed", ["wheel", "without_compiler"])
def test_the_example_of_the_readme_trains_with_torch_alone(installed, torch_alone, request):
    (example,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    result = run_alone(example + TRAIN, request.getfixturevalue(installed), torch_alone)
    assert result.returncode == 0, result.stderr
    assert installed == "wheel" or result.stdout == "none\n"


def test_the_command_of_the_wheel_names_the_extra_it_lacks(wheel, torch_alone):
    (command,) = metadata.distribution("gbnlib").entry_points.select(group="console_scripts")
    module, name = command.value.split(":")
    result = run_alone(f"from {module} import {name}; {name}()", wheel, torch_alone)
    assert result.returncode == 2 and not result.stdout
    assert result.stderr.endswith("this part of gbnlib needs its extra, pip install 'gbnlib[suite]'\n")
    assert result.stderr.count("\n") == 1


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


def test_the_container_and_binder_take_what_the_checkout_has():
    docker, after = (ROOT / "Dockerfile").read_text(), (ROOT / ".binder" / "postBuild").read_text()
    for target in re.findall(r"\bmake (\w+)|\"make\", \"(\w+)\"", docker + after):
        subprocess.run(["make", "-n", "-C", ROOT, "".join(target)], capture_output=True, check=True)
    supported = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    binder = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text())
    versions = re.findall(r"^FROM python:([\d.]+)", docker, re.M), [binder["dependencies"][0].removeprefix("python=")]
    assert all(len(each) == 1 and each[0] in supported for each in versions)
    assert os.access(ROOT / ".binder" / "postBuild", os.X_OK)
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert ".venv" in ignored and ".git" not in ignored and "!results/reference" in ignored


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
    assert (copies / "a.ipynb").read_text() == "newer"
    assert [path.read_text() for path in copies.glob("a-*.ipynb")] == ["edited"]


def test_make_names_the_python_it_needs_and_keeps_that_of_the_environment(tmp_path):
    sources = ("gbnlib/nn/kernel.cpp", "gbnlib/nn/kernel_layouts.h", "gbnlib/nn/kernel_vectors.h")
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "setup.py", *sources):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHON"}

    def make(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(["make", "-C", tmp_path, *words], env=clean, capture_output=True, text=True)

    refused = make("setup", "PYTHON=nopython")
    assert refused.returncode != 0 and not (tmp_path / ".venv").exists()
    assert 'Python 3.11, 3.12 or 3.13 is needed and "nopython" is none of them' in refused.stderr
    assert "PYTHON=python3.11\n" in make().stdout
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".installed").touch()
    assert "PYTHON=.venv/bin/python\n" in make().stdout
    # A set-up that failed keeps the choices of the one before.
    (tmp_path / ".venv" / ".installed").rename(tmp_path / ".venv" / ".unfinished")
    (tmp_path / ".venv" / ".unfinished").write_text("1\n")
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("version = 3.12.1\nexecutable = /opt/python3.12\n")
    assert "PYTHON=/opt/python3.12\n" in make().stdout
    assert "if [ '1' = 1 ]" in make("-n", "setup", f"PYTHON={sys.executable}").stdout
