"""How good a network is on images that it was not trained on."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gbnlib.data.batches import Batches, normalise
from gbnlib.training.devices import autocast


def evaluate(
    model: nn.Module, images: Tensor, labels: Tensor, batches: Batches, precision: str = "fp32", size: int = 1000
) -> tuple[float, float]:
    """Mean loss and error in % of a model in evaluation mode.

    Parameters
    ----------
    model : gives logits (N, classes); afterwards it is in training mode.
    images, labels : uint8 (N, C, H, W) or streamed, and int64 (N,) on the device of the model.
    batches : those of the training, whose mean and standard deviation normalise the images.
    precision : "fp32" or "bf16".
    size : images that go through the network at once.
    """
    loss, wrong = evaluation_sums(model, images, labels, batches, precision, size).tolist()
    return loss / len(labels), 100 * wrong / len(labels)


@torch.no_grad()
def evaluation_sums(
    model: nn.Module, images: Tensor, labels: Tensor, batches: Batches, precision: str = "fp32", size: int = 1000
) -> Tensor:
    """Summed loss and number of wrong answers, (2,) on the device, without waiting for it."""
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64, device=labels.device)
    for part, answers in zip(images.split(size), labels.split(size), strict=True):
        with autocast(precision, labels.device):
            logits = model(normalise(part, batches.mean, batches.std)).float()
        sums[0] += F.cross_entropy(logits, answers, reduction="sum")
        sums[1] += (logits.argmax(1) != answers).sum()
    model.train()
    return sums
