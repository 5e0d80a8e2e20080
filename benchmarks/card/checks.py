"""Is the card's arithmetic that of the CPU, do repeated runs agree, does an update wait?"""

import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from card.trainings import PRECISIONS, Setting, make, state, training
from gbnlib import data, paper
from gbnlib.experiments import provenance
from gbnlib.nn import build_network, ghost_batch_norm, kernel
from gbnlib.training.devices import arithmetic

#: What a GPU in IEEE float32 may be off by, over the length of an update or the largest value.
TOLERANCE = 1e-4


def facts(setting: Setting) -> dict:
    """What the card is, products it makes and bytes it moves."""
    found = {**provenance.software(), **provenance.hardware(setting.device), "threads": torch.get_num_threads()}
    if setting.device == "cuda":
        card = torch.cuda.get_device_properties(0)
        found |= {
            "gpus": torch.cuda.device_count(),
            "memory_gib": card.total_memory / 2**30,
            "capability": f"{card.major}.{card.minor}",
            "triton": kernel.has_triton(0),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        }
    found |= {f"{precision}_tflops": product_rate(setting, precision) / 1e12 for precision in PRECISIONS}
    return {**found, "copy_gb_s": copy_rate(setting) / 1e9}


def seconds(setting: Setting, step: Callable[[], object], rounds: int = 5) -> float:
    """Mean of some calls after a first one."""
    step()
    setting.wait()
    started = time.perf_counter()
    for _ in range(rounds):
        step()
    setting.wait()
    return (time.perf_counter() - started) / rounds


def product_rate(setting: Setting, precision: str) -> float:
    """Operations a second of a product of square matrices."""
    size = 256 if setting.tiny else 8192
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(size, size, device=setting.device).to(dtype) for _ in range(2))
    with arithmetic(precision):
        return 2 * size**3 / seconds(setting, lambda: left @ right)


def copy_rate(setting: Setting) -> float:
    """Bytes a second, read and written, of a copy on the device."""
    source = torch.ones(2**20 if setting.tiny else 2**28, device=setting.device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(setting, lambda: target.copy_(source))


def equal(setting: Setting, network: str) -> dict:
    """How far one update on the device is from that on the CPU in float32, over its length, without dropout."""
    batch, ghost = (8, 4) if setting.tiny else (64, 32)

    def updated(precision: str, device: str) -> tuple[Tensor, Tensor]:
        of = training(network, batch, ghost, precision, device)
        for layer in of.draws.layers:
            layer.p = 0.0  # a GPU draws by another rule
        before = state(of)
        with arithmetic(precision):
            return before, state(make(of, 1))

    before, expected = updated("fp32", "cpu")
    length = (expected - before).norm()
    found = {
        precision: ((updated(precision, setting.device)[1] - expected).norm() / length).item()
        for precision in PRECISIONS
    }
    return {**found, "within": found["fp32"] <= TOLERANCE}


def repeat(setting: Setting, network: str) -> dict:
    """Whether updates made twice, and with a save and a load between, end alike, bit for bit."""
    small, _, ghost = setting.batches(network)
    number = 4 if setting.tiny else 20
    begin = partial(training, network, small, ghost, device=setting.device)
    found = {}
    for kind in ("default", "deterministic"):
        with deterministic(kind == "deterministic"):
            once, twice, half = make(begin(), number), make(begin(), number), make(begin(), number // 2)
            path = setting.folder / f".{network}.pt"
            torch.save(half.state_dict(), path)
            resumed = begin()
            resumed.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
            path.unlink()
            make(resumed, number - number // 2)
        found |= {f"{kind}, twice": torch.equal(state(once), state(twice))}
        found |= {f"{kind}, resumed": torch.equal(state(once), state(resumed))}
    return found


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Inside, PyTorch takes its deterministic algorithms where it has them, if that is asked for."""
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def waits(setting: Setting, network: str) -> dict:
    """The lines at which an update waits for the device, and how often; there should be none."""
    _, large, ghost = setting.batches(network)
    of = make(training(network, large, ghost, device=setting.device), 2)
    if setting.device != "cuda":
        make(of, 1)
        return {"waits": None, "why": "only a GPU is waited for"}
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            make(of, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"waits": waiting_lines(seen)}


def waiting_lines(seen: list[warnings.WarningMessage]) -> dict[str, int]:
    """The lines that PyTorch's warnings of a synchronisation name."""
    synchronising = (each for each in seen if re.search("synchroni[sz]", str(each.message)))
    return dict(Counter(f"{Path(each.filename).name}:{each.lineno}" for each in synchronising))


def shapes(network: str, batch_size: int) -> list[tuple[int, ...]]:
    """The shapes that the normalisation layers of a network see, each once."""
    card = data.card(paper.protocol(network).dataset)
    seen: dict[tuple[int, ...], None] = {}
    with torch.device("meta"):
        model = build_network(network, card.classes, card.channels, card.image_size)
        for layer in model.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.register_forward_hook(lambda layer, inputs, output: seen.setdefault(tuple(inputs[0].shape)))
        model(torch.empty(batch_size, card.channels, card.image_size, card.image_size))
    return list(seen)


def ghosts(setting: Setting, network: str) -> list[dict]:
    """How far the ghost layers' kernel is from a loop over ghosts, over the largest value, on a network's shapes."""
    batch, size = (10, 4) if setting.tiny else (400, 128)  # the last ghost is smaller
    rows = []
    for shape, dtype in product(shapes(network, batch), (torch.float32, torch.bfloat16)):
        chance = torch.Generator().manual_seed(0)
        inputs = [torch.randn(shape, generator=chance).to(setting.device, dtype) for _ in range(2)]
        inputs = [_channels_last(each) for each in inputs]
        off = _off(_normalised(looped, *inputs, size), _normalised(ghost_batch_norm, *inputs, size))
        rows.append({"shape": list(shape), "dtype": str(dtype).removeprefix("torch."), "off": off})
        rows[-1] |= {"kernel": kernel.serves(inputs[0]), "within": off <= (2e-2 if dtype == torch.bfloat16 else 1e-4)}
    return rows


def _channels_last(batch: Tensor) -> Tensor:
    return batch.to(memory_format=torch.channels_last) if batch.dim() == 4 else batch


def looped(batch: Tensor, size: int, *state: Tensor) -> Tensor:
    """Ghost after ghost by PyTorch's own layer."""
    return torch.cat([F.batch_norm(ghost, *state, training=True) for ghost in batch.split(size)])


def _normalised(code: Callable[..., Tensor], batch: Tensor, gradient: Tensor, size: int) -> list[Tensor]:
    """Output, gradients and running statistics of a forward and backward."""
    channels, device = batch.shape[1], batch.device
    moving = [torch.zeros(channels, device=device), torch.ones(channels, device=device)]
    parameters = [torch.linspace(0.5, 1.5, channels, device=device).requires_grad_() for _ in range(2)]
    batch = batch.detach().requires_grad_()
    output = code(batch, size, *moving, *parameters)
    return [output, *torch.autograd.grad(output, (batch, *parameters), gradient), *moving]


def _off(expected: list[Tensor], found: list[Tensor]) -> float:
    """The largest difference, over the largest value of its tensor."""
    pairs = [(a.detach().double(), b.detach().double()) for a, b in zip(expected, found, strict=True)]
    return max(((a - b).abs().max() / a.abs().max()).item() for a, b in pairs)
