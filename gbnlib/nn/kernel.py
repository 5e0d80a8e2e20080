"""The kernels of ghost batch normalization, as operators of PyTorch; an installation may lack them.

That for the processor is built from kernel.cpp when the package is installed, if there is a compiler, once for each of
several instruction sets. Those for GPUs are in triton_kernel.py; they are imported at the first use. ``GBN_KERNEL=off``
in the environment leaves all unused; any other value is refused.
"""

import ctypes
import importlib.util
import os
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

import torch
from torch import Tensor

from gbnlib.errors import UsageError
from gbnlib.nn import formula

ELEMENTS = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "bfloat16"}
DTYPES = {"cpu": set(ELEMENTS), "cuda": {torch.float32, torch.bfloat16, torch.float16}}
BUILDS = {"AVX512": ("x86_64_v4", "x86_64_v3"), "AVX2": ("x86_64_v3",)}
LEAST_TRITON = (3, 5)  # that of the oldest PyTorch allowed
LEAST_CAPABILITY = (8, 0)  # of a GPU, for Triton
LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


class _Batch(ctypes.Structure):
    """`Batch` of kernel.cpp."""

    _fields_ = (
        ("in_rows", ctypes.c_int),
        ("threads", ctypes.c_int),
        *((name, ctypes.c_int64) for name in ("samples", "size", "ghosts", "channels", "values")),
    )


def load(build: str) -> ctypes.CDLL | None:
    """Load one build of the kernel ("x86_64_v4", "x86_64_v3" or "portable"), or None where it does not exist."""
    spec = importlib.util.find_spec(f"gbnlib.nn._kernel_{build}")
    return ctypes.CDLL(spec.origin) if spec else None


def _best() -> tuple[str, ctypes.CDLL | None]:
    """Return the build for this processor and its name; "none" without one."""
    given = os.environ.get("GBN_KERNEL", "")
    if given not in ("", "off"):
        raise UsageError(f"GBN_KERNEL is {given!r}; it may be off, or unset to use the compiled kernel.")
    if not given:
        for build in (*BUILDS.get(torch.backends.cpu.get_cpu_capability(), ()), "portable"):
            if library := load(build):
                return build, library
    return "none", None


def _has_new_triton() -> bool:
    """Tell whether Triton is wanted, there and new enough, without importing it."""
    try:
        found = tuple(int(part) for part in version("triton").split(".")[:2])
    except (PackageNotFoundError, ValueError):
        return False
    return not os.environ.get("GBN_KERNEL") and found >= LEAST_TRITON


NAME, LIBRARY = _best()
TRITON = _has_new_triton()


def serves(input: Tensor, *parameters: Tensor | None) -> bool:
    """Tell whether a kernel can normalise `input`; the parameters all have its dtype, or all float32 where it is half.

    They must be on one device, a processor or a GPU that Triton knows.
    """
    device, given = input.device, [values for values in parameters if values is not None]
    dtypes = {values.dtype for values in given}
    return (
        input.dtype in DTYPES.get(device.type, ())
        and all(values.device == device for values in given)
        and (dtypes <= {input.dtype} or dtypes == {torch.promote_types(input.dtype, torch.float32)})
        and (LIBRARY is not None if device.type == "cpu" else has_triton(device.index))
    )


def moves(momentum: float | Tensor, *buffers: Tensor) -> bool:
    """Tell whether a kernel can also move running statistics by a momentum η in [0, 1)."""
    known = not isinstance(momentum, Tensor) and 0 <= momentum < 1
    return bool(buffers) and known and all(each.is_contiguous() for each in buffers)


def has_triton(index: int) -> bool:
    """Tell whether Triton's kernels are to be used, and can be on a GPU."""
    return TRITON and torch.cuda.get_device_capability(index) >= LEAST_CAPABILITY


# What torch.compiler.assume_constant_result does, but that imports the whole compiler, and Triton with it.
has_triton._dynamo_marked_constant = True


@torch.library.custom_op("gbnlib::ghost_norm", mutates_args=())
def ghost_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, size: int, ghosts: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each ghost of `input`; return the output, and means and biased variances (ghosts, channels).

    All ghosts have `size` samples but the last, which has what is left: fewer, or more.
    """
    input, in_rows = _arranged(input)
    output = torch.empty_like(input)
    mean, variance = _statistics(input, ghosts)
    parameters = (_double(weight), _double(bias))
    _call("forward", input, in_rows, size, ghosts, (input, output, *parameters, mean, variance, eps))
    return output, mean, variance


@torch.library.custom_op("gbnlib::ghost_norm_backward", mutates_args=())
def ghost_norm_backward(
    input: Tensor,
    gradient: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    size: int,
    ghosts: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of input, weight and bias; `gradient` is that of the output."""
    input, in_rows = _arranged(input)
    result = torch.empty_like(input)
    gradient = _like(input, gradient)
    of_weight, of_bias = _statistics(input, ghosts)
    arguments = (input, gradient, result, _double(weight), mean, variance, eps, of_weight, of_bias)
    _call("backward", input, in_rows, size, ghosts, arguments)
    dtype = input.dtype if weight is None else weight.dtype
    return result, of_weight[0].to(dtype, copy=True), of_bias[0].to(dtype, copy=True)


@torch.library.custom_op("gbnlib::move_statistics", mutates_args=("running_mean", "running_var"))
def move_statistics(
    running_mean: Tensor,
    running_var: Tensor,
    mean: Tensor,
    variance: Tensor,
    samples: int,
    size: int,
    values: int,
    momentum: float,
    sequential: bool,
) -> None:
    """Move running statistics by what `ghost_norm` found in samples of `values` values, by either rule.

    It is an operator of its own, since PyTorch allows none that has derivatives and changes its arguments.
    """
    batch = _Batch(True, torch.get_num_threads(), samples, size, *mean.shape, values)
    arguments = (running_mean, running_var, mean, variance, momentum)
    _function("move", running_mean)(batch, *map(_argument, arguments), sequential)


# --- for GPUs ----------------------------------------------------------------------------------------------------


def _triton() -> ModuleType:
    from gbnlib.nn import triton_launch

    return triton_launch


@ghost_norm.register_kernel("cuda")
def forward(input: Tensor, *rest: object) -> tuple[Tensor, Tensor, Tensor]:
    """`ghost_norm` by Triton."""
    return _triton().forward(*_arranged(input), *rest)


@ghost_norm_backward.register_kernel("cuda")
def backward(input: Tensor, gradient: Tensor, *rest: object) -> tuple[Tensor, Tensor, Tensor]:
    """`ghost_norm_backward` by Triton."""
    input, in_rows = _arranged(input)
    return _triton().backward(input, in_rows, _like(input, gradient), *rest)


@move_statistics.register_kernel("cuda")
def move(*arguments: object) -> None:
    """`move_statistics` by Triton."""
    _triton().move_statistics(*arguments)


# --- what both need ----------------------------------------------------------------------------------------------


def _like(input: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in the layout of the input."""
    return gradient if gradient.stride() == input.stride() else torch.empty_like(input).copy_(gradient)


def _arranged(input: Tensor) -> tuple[Tensor, bool]:
    """Return `input` in a layout of the kernel's, the one that plain batch normalization gives it, and which."""
    if input.dim() == 2 or input.shape[2:].numel() == 1:
        return input.contiguous(), True
    layout = LAYOUTS.get(input.dim(), torch.contiguous_format)
    if not input.is_contiguous() and torch.empty_like(input).is_contiguous(memory_format=layout):
        return input.contiguous(memory_format=layout), layout != torch.contiguous_format
    return input.contiguous(), False


def _statistics(input: Tensor, ghosts: int) -> tuple[Tensor, Tensor]:
    """Make two tensors with a value for each ghost and channel."""
    shape = ghosts, input.shape[1]
    return input.new_empty(shape, dtype=torch.float64), input.new_empty(shape, dtype=torch.float64)


def _double(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.detach().to(torch.float64).contiguous()


def _call(
    name: str,
    input: Tensor,
    in_rows: bool,
    size: int,
    ghosts: int,
    arguments: Sequence[Tensor | float | None],
) -> None:
    """Call one of the kernel's functions of a batch."""
    samples, channels = input.shape[:2]
    values = input.numel() // (samples * channels)
    batch = _Batch(in_rows, torch.get_num_threads(), samples, size, ghosts, channels, values)
    _function(name, input)(batch, *map(_argument, arguments))


def _function(name: str, elements: Tensor) -> Callable[..., None]:
    return getattr(LIBRARY, f"ghost_norm_{name}_{ELEMENTS[elements.dtype]}")


def _argument(value: Tensor | float | None) -> object:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    return None if value is None else ctypes.c_double(value)


# --- what PyTorch must know of the operators: shapes, for compilation, and derivatives ---------------------------


@ghost_norm.register_fake
def _(input: Tensor, weight: Tensor | None, bias: Tensor | None, size: int, ghosts: int, eps: float) -> tuple:
    return torch.empty_like(_arranged(input)[0]), *_statistics(input, ghosts)


@ghost_norm_backward.register_fake
def _(
    input: Tensor,
    gradient: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    size: int,
    ghosts: int,
    eps: float,
) -> tuple:
    of_parameter = (input if weight is None else weight).new_empty(input.shape[1])
    return torch.empty_like(_arranged(input)[0]), of_parameter, torch.empty_like(of_parameter)


def _save(ctx: object, inputs: tuple, output: tuple) -> None:
    input, weight, bias, ctx.size, ctx.ghosts, ctx.eps = inputs
    _, mean, variance = output
    ctx.mark_non_differentiable(mean, variance)
    ctx.set_materialize_grads(False)  # else zeros are made for the two
    ctx.has_bias = bias is not None
    ctx.save_for_backward(input, weight, mean, variance)


def _backward(ctx: object, gradient: Tensor | None, *_: None) -> tuple:
    if gradient is None:
        return (None,) * 6
    input, weight, mean, variance = ctx.saved_tensors
    if torch.is_grad_enabled() or formula.is_needed(gradient):  # these gradients will be differentiated in turn
        found = formula.gradients(input, gradient, weight, ctx.size, ctx.ghosts, ctx.eps)
    else:
        found = ghost_norm_backward(input, gradient, weight, mean, variance, ctx.size, ctx.ghosts, ctx.eps)
    of_input, of_weight, of_bias = found
    return of_input, None if weight is None else of_weight, of_bias if ctx.has_bias else None, None, None, None


ghost_norm.register_autograd(_backward, setup_context=_save)
