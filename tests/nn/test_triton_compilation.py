"""The Triton kernels compiled ahead of time for compute capability 9.0, without a GPU: registers and wide loads."""

import os
import re
import subprocess
from pathlib import Path

import pytest

triton = pytest.importorskip("triton")
compiler = pytest.importorskip("triton.compiler")
backends = pytest.importorskip("triton.backends.compiler")
triton_kernel = pytest.importorskip("gbnlib.nn.triton_kernel")
triton_launch = pytest.importorskip("gbnlib.nn.triton_launch")
if "TRITON_INTERPRET" in os.environ:
    pytest.skip("the interpreter compiles nothing", allow_module_level=True)

TENSORS = {"input", "output", "gradient", "result"}
DOUBLES = {"mean", "variance"}
RATES = {"eps", "momentum", "kept", "log2_kept"}
NUMBERS = {"size", "samples", "ghosts", "channels", "values"}
DISASSEMBLER = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
# Channels-last and (N, C) of ResNet44 and F1, and NCHW: shape, whether in rows, size of a ghost, ghosts.
BATCHES = {
    "rows": ((4096, 16, 32, 32), True, 128, 32),
    "narrow rows": ((4096, 512), True, 128, 32),
    "runs": ((4095, 64, 16, 16), False, 128, 32),
}


def compiled(name: str, batch: str, element: str, weighted: bool = True):
    """A kernel as Triton would compile it for such a batch."""
    division = triton_launch.divide(*BATCHES[batch])
    numbers = dict(zip(("size", "samples", "ghosts", "channels", "values"), division.sizes, strict=True))
    constants = {**division.constants, "SEQUENTIAL": True, "G": triton_launch.GHOSTS}
    kernel = getattr(triton_kernel, name)
    signature, given, attributes = {}, {}, {}
    for place, argument in enumerate(kernel.arg_names):
        if argument in constants:
            kind, value = "constexpr", constants[argument]
        elif argument in ("weight", "bias") and not weighted:
            kind, value = "constexpr", None
        elif argument in ("channels", "values") and numbers[argument] == 1:
            kind, value = "constexpr", 1
        else:
            kind = "i32" if argument in NUMBERS else "fp32" if argument in RATES else "*fp32"
            kind = f"*{element}" if argument in TENSORS else "*fp64" if argument in DOUBLES else kind
            value = None
            if kind.startswith("*") or (argument in ("channels", "values") and numbers[argument] % 16 == 0):
                attributes[(place,)] = [["tt.divisibility", 16]]
        signature[argument] = kind
        if kind == "constexpr":
            given[(place,)] = value
    source = compiler.ASTSource(fn=kernel, signature=signature, constexprs=given, attrs=attributes)
    return triton.compile(source, target=backends.GPUTarget("cuda", 90, 32), options={"num_warps": 4})


def resources(binary: bytes, path: Path) -> dict[str, int]:
    """Registers of a thread, bytes of its stack, and so on."""
    path.write_bytes(binary)
    said = subprocess.run([DISASSEMBLER, "-res-usage", path], capture_output=True, text=True, check=True).stdout
    return {key: int(value) for key, value in re.findall(r"(REG|STACK|SHARED):(\d+)", said)}


@pytest.fixture(autouse=True)
def kept_out_of_the_home_folder(tmp_path, monkeypatch):
    """Triton keeps what it compiles."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.mark.skipif(not DISASSEMBLER.exists(), reason="this Triton brings no cuobjdump")
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("element", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["moments", "normalise", "add_up", "differentiate", "move"])
def test_kernels_keep_to_registers_and_load_many_values_at_once(name, element, batch, tmp_path):
    if name == "move" and (element, batch) != ("fp32", "rows"):
        pytest.skip("it does not depend on the batch")
    found = compiled(name, batch, element)
    used = resources(found.asm["cubin"], tmp_path / "kernel.cubin")
    assert used["STACK"] == 0
    assert used["REG"] <= 128
    if name != "move":
        wide = "v4" if element == "fp32" else "v[24]"
        assert re.search(rf"ld\.global[.\w:]*\.{wide}", found.asm["ptx"])
    if name in ("normalise", "differentiate"):
        assert re.search(rf"st\.global[.\w:]*\.{wide}", found.asm["ptx"])


def test_kernels_without_scale_and_shift_compile():
    for name in ("normalise", "differentiate"):
        assert compiled(name, "rows", "fp32", weighted=False).asm["cubin"]


def test_the_draw_of_dropout_compiles_to_whole_numbers_alone(tmp_path):
    kernel = pytest.importorskip("gbnlib.nn.triton_dropout").draw
    kinds = {"place": "*i64", "kept": "*i1", "total": "i32", "each": "i32", "threshold": "i64", "B": "constexpr"}
    source = compiler.ASTSource(fn=kernel, signature=kinds, constexprs={(5,): 1024})
    found = triton.compile(source, target=backends.GPUTarget("cuda", 90, 32), options={"num_warps": 4})
    assert not re.search(r"\.f(32|64)", found.asm["ptx"])


def test_half_precision_compiles():
    assert all(compiled(name, "runs", "fp16").asm["cubin"] for name in ("moments", "differentiate"))
