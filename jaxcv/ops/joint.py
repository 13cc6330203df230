"""From a config's options to views of an image together with its mask, on the device."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence

import jax

from jaxcv.ops import views
from jaxcv.ops.geometry import random_flip, resize_nearest
from jaxcv.ops.warp import random_crop, random_rotation, random_scaled_crop

JointView = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]  # (key, image, mask)
Pair = tuple[jax.Array, jax.Array]  # image (h, w, c) and mask (h, w)


def _keep(key: jax.Array, mask: jax.Array) -> jax.Array:
    return mask


def _resize(key: jax.Array, mask: jax.Array, *, size: int | Sequence[int]) -> jax.Array:
    return resize_nearest(mask, size=size)


OPS: dict[str, tuple[Callable, Callable]] = {  # the op of the image, which has the options, and that of the mask
    "resize": (views.OPS["resize"], _resize),
    "scale": (random_scaled_crop, random_scaled_crop),
    "rotate": (random_rotation, random_rotation),
    "crop": (random_crop, random_crop),
    "flip": (random_flip, random_flip),
    **{name: (views.OPS[name], _keep) for name in ("jitter", "gray", "blur")},
}


def _of_pair(op: Callable, mask_op: Callable, ignore: int) -> Callable:
    """An op of a pair that moves both alike: random numbers depend on key, height and width alone."""
    parameters = inspect.signature(mask_op).parameters

    @functools.wraps(op)  # so that `op` shows its options
    def both(key: jax.Array, pair: Pair, **options) -> Pair:
        image, mask = pair
        mask_options = {**options, "method": "nearest", "fill": ignore}
        mask_options = {name: option for name, option in mask_options.items() if name in parameters}
        mask = mask_op(jax.random.clone(key), mask[..., None], **mask_options)[..., 0]
        return op(key, image, **options), mask

    return both


def make_joint_view(*, ignore: int, order: Sequence[str] = tuple(OPS), **ops: Mapping | None) -> JointView:
    """A view of an image and its mask: the ops named in `order`, one after the other, as in `views.make_chain`.

    Ops move both with the same random numbers, the mask by nearest neighbour. What comes from outside the image is
    `fill` (an option, 0 by default) in the image and `ignore` in the mask. `crop` does not resample here, and `scale`
    scales, turns and crops with one resampling. `jitter`, `gray` and `blur` do not change the mask.

    Args:
      ignore: the label of pixels outside the image.
      order: names of `OPS`; by default all, in their order.
      **ops: by name, the options of the image's op; an op without options is left out.

    Returns: `view(key, image, mask)`: (h, w, c) float32 in [0, 1] and (h, w) int32 -> the same, of the last size that
      an op sets.

    Raises: ConfigError as `views.make_chain`.
    """
    functions = {name: _of_pair(*both, ignore) for name, both in OPS.items()}
    chain = views.make_chain("augment", functions, order=order, options=ops)

    def view(key: jax.Array, image: jax.Array, mask: jax.Array) -> Pair:
        return chain(key, (image, mask))

    return view
