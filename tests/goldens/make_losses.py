"""torch's losses and their gradients: `cd tests; python -m goldens.make_losses` writes losses.npz, with torchvision."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from goldens.parity import uniform

FILE = Path(__file__).with_name("losses.npz")

CLASSES, VOID = 5, 255
CLASS_WEIGHT = np.array([0.2, 1.0, 3.0, 0.7, 0.0])
SMOOTHING, EPSILON, GAMMA = 0.1, 2.0, 1.5


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Logits b h w n float64, of which some are large, and labels b h w, of which some are void."""
    logits = uniform("logits", (2, 3, 4, CLASSES)).astype(np.float64) * 4
    logits[0, 0, 0] *= 20
    label = (uniform("label", (2, 3, 4)) + 1) / 2 * (CLASSES + 1)
    return logits, np.where(label < CLASSES, label, VOID).astype(np.int64)


def soft_target() -> np.ndarray:
    """b h w n float64, each a distribution."""
    target = uniform("target", (2, 3, 4, CLASSES)).astype(np.float64) + 1
    return target / target.sum(-1, keepdims=True)


def torch_losses() -> dict[str, Callable]:
    """name -> loss of logits b h w n; one number."""
    import torch
    import torch.nn.functional as F

    label = torch.from_numpy(problem()[1]).flatten()
    hard = torch.where(label == VOID, 0, label)
    known = label != VOID
    one_hot = F.one_hot(hard, CLASSES) * known[:, None].double()
    weight = torch.from_numpy(CLASS_WEIGHT)
    soft = torch.from_numpy(soft_target()).flatten(0, 2)

    def of_class(z):
        """The probability of each pixel's class, those that are not void."""
        return z.softmax(-1)[known].gather(1, label[known, None])[:, 0]

    def poly1_of_mean(z):
        ce = F.cross_entropy(z, label, ignore_index=VOID)
        return ce + EPSILON * (1 - torch.exp(-ce))

    rows = {
        "cross_entropy": lambda z: F.cross_entropy(z, label, ignore_index=VOID),
        "weighted": lambda z: F.cross_entropy(z, label, weight, ignore_index=VOID),
        "smooth": lambda z: F.cross_entropy(z, hard, label_smoothing=SMOOTHING),
        "soft": lambda z: F.cross_entropy(z, soft),
        "binary": lambda z: F.binary_cross_entropy_with_logits(z, one_hot),
        "binary_soft": lambda z: F.binary_cross_entropy_with_logits(z, soft, reduction="sum"),
        "binary_one": lambda z: F.binary_cross_entropy_with_logits(z[:, 0], soft[:, 1]),
        "poly1": lambda z: (EPSILON * (1 - of_class(z)) - of_class(z).log()).mean(),
        "poly1_of_mean": poly1_of_mean,
        "focal": lambda z: (-((1 - of_class(z)) ** GAMMA) * of_class(z).log()).mean(),
    }
    return {name: lambda z, loss=loss: loss(z.flatten(0, 2)) for name, loss in rows.items()}


def main() -> None:
    import torch

    made = {}
    for name, loss in torch_losses().items():
        logits = torch.tensor(problem()[0], requires_grad=True)
        value = loss(logits)
        value.backward()
        made |= {f"{name}/value": value.detach().numpy(), f"{name}/gradient": logits.grad.numpy()}
    np.savez_compressed(FILE, **made)
    print(f"{FILE.name}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
