"""The forms of convolutions beside XLA's own, for shapes of this package's networks."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxcv.models.convolutions import XLA, Window, choose_forms
from jaxcv.tools.bench import best_time

CONVOLUTIONS = (  # batch, height, width, channels, features, kernel, stride, padding
    *((128, 28, 28, 1, 12, 5, 1, 0), (128, 12, 12, 12, 24, 5, 1, 0)),  # BaseNet
    *((128, 32, 32, 3, 16, 7, 2, 3), (128, 8, 8, 16, 16, 3, 1, 1), (128, 8, 8, 16, 32, 3, 2, 1)),  # ResNet-18, 32 px
    *((128, 4, 4, 32, 32, 3, 1, 1), (128, 4, 4, 32, 64, 3, 2, 1), (128, 4, 4, 32, 64, 1, 2, 0)),
    *((128, 2, 2, 64, 64, 3, 1, 1), (128, 2, 2, 64, 128, 3, 2, 1), (128, 1, 1, 128, 128, 3, 1, 1)),
    *((32, 128, 128, 3, 64, 7, 2, 3), (32, 32, 32, 64, 64, 3, 1, 1), (32, 32, 32, 64, 128, 3, 2, 1)),  # at 128 px
    *((32, 16, 16, 128, 128, 3, 1, 1), (32, 16, 16, 128, 256, 3, 2, 1), (32, 8, 8, 256, 256, 3, 1, 1)),
    *((32, 8, 8, 256, 512, 3, 2, 1), (32, 4, 4, 512, 512, 3, 1, 1), (32, 32, 32, 64, 128, 1, 2, 0)),
    *((32, 8, 8, 256, 512, 1, 2, 0), (32, 16, 16, 64, 256, 1, 1, 0)),
    *((8, 96, 128, 3, 16, 3, 1, 1), (8, 48, 64, 16, 32, 3, 1, 1), (8, 24, 32, 64, 64, 3, 1, 1)),  # VGG
    *((8, 12, 16, 128, 128, 3, 1, 1), (8, 6, 8, 128, 128, 3, 1, 1)),
    *((100, 32, 32, 1, 32, 3, 2, 1), (100, 16, 16, 32, 64, 3, 2, 1), (100, 32, 32, 25, 24, 3, 1, 1)),  # UNet
    *((1, 2, 2, 64, 64, 3, 1, 1), (8, 2, 2, 512, 512, 3, 1, 1), (512, 1, 1, 256, 256, 3, 1, 1)),  # other batches
    *((16, 28, 28, 128, 128, 3, 2, 1), (16, 56, 56, 24, 24, 3, 1, 1), (64, 32, 32, 16, 16, 4, 2, 1)),
)


def measure_convolutions() -> None:
    """Prints milliseconds of what is not XLA's own: a line for each shape and each of forward and the two gradients."""
    print(f"{'b h w c':>16} {'kernel':>14} {'stride':>6} {'XLA ms':>8} {'ours ms':>8} {'ratio':>6}  form")
    for batch, height, width, channels, features, size, stride, padding in CONVOLUTIONS:
        window = Window((stride, stride), ((padding, padding), (padding, padding)))
        x = jax.random.normal(jax.random.key(0), (batch, height, width, channels))
        kernel = jax.random.normal(jax.random.key(1), (size, size, channels, features))
        dy = XLA.forward(x, kernel, window)
        for theirs, ours in zip(XLA, choose_forms(x.shape, kernel.shape, window), strict=True):
            if ours is theirs:
                continue
            arrays = (x, kernel) if theirs is XLA.forward else (x, kernel, dy)
            slow, fast = (1e3 * form_time(form, arrays, window) for form in (theirs, ours))
            print(
                f"{_times(x.shape):>16} {_times(kernel.shape):>14} {stride:>6} "
                f"{slow:8.2f} {fast:8.2f} {fast / slow:6.2f}  {ours.__name__}",
                flush=True,
            )


def form_time(form: Callable, arrays: tuple, window: Any) -> float:
    """Seconds of the fastest of some calls of one of the forms in jaxcv/models/convolutions.py."""
    program = jax.jit(lambda *arrays: form(*arrays, window))
    return best_time(lambda: program(*arrays), tries=9)


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
