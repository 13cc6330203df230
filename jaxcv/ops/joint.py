"""From a config's options to views of an image together with its mask, on device."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence

import jax

from jaxcv.ops import views
from jaxcv.ops.geometry import random_flip, resize_nearest
from jaxcv.ops.warp import random_crop, random_rotation, random_scaled_crop

JointView = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def _resize_nearest(key, image, *, size):
    return resize_nearest(image, size=size)


MOVES = {  # the op of the image, which has the options, and of the mask
    "resize": (views.OPS["resize"], _resize_nearest),
    "scale": (random_scaled_crop, random_scaled_crop),
    "rotate": (random_rotation, random_rotation),
    "crop": (random_crop, random_crop),
    "flip": (random_flip, random_flip),
}
COLORS = {name: views.OPS[name] for name in ("jitter", "gray", "blur")}


def _move(op: Callable, op_of_mask: Callable, ignore: int) -> Callable:
    """The op of a pair (image, mask): the same draw for both, as draws depend on key, height and width alone."""
    known = inspect.signature(op_of_mask).parameters

    @functools.wraps(op)  # with its options
    def move(key, pair, **options):
        image, mask = pair
        of_mask = {**options, "method": "nearest", "fill": ignore}
        of_mask = {name: option for name, option in of_mask.items() if name in known}
        mask = op_of_mask(jax.random.clone(key), mask[..., None], **of_mask)[..., 0]
        return op(key, image, **options), mask

    return move


def _recolor(op: Callable) -> Callable:
    """The op of a pair (image, mask) that leaves the mask be."""

    @functools.wraps(op)  # with its options
    def recolor(key, pair, **options):
        image, mask = pair
        return op(key, image, **options), mask

    return recolor


def make_joint_view(*, ignore: int, order: Sequence[str] = (*MOVES, *COLORS), **ops: Mapping | None) -> JointView:
    """A view of an image and its mask: the ops named in `order`, one after the other, as in `make_view`.

    Those of `MOVES` move both by the same draw, the mask by nearest neighbour: what comes from outside the image is
    `fill` (an option, 0 by default) in the image and `ignore` in the mask. Here `crop` takes pixels as they are, and
    `scale` scales, turns and crops in one resampling. Those of `COLORS` leave the mask be.

    Args:
      ignore: the label of what the image does not cover.
      order: names out of `MOVES` and `COLORS`; by default all, in their order.
      **ops: by name, the options of the op of the image, as mappings; an op without any is left out.

    Returns: `view(key, image, mask)`: h w c float32 in [0, 1] and h w int32 -> the same, of the last size that an op
      sets.

    Raises: ConfigError as `make_chain`.
    """
    moves = {name: _move(*both, ignore) for name, both in MOVES.items()}
    colors = {name: _recolor(op) for name, op in COLORS.items()}
    chain = views.make_chain(known=moves | colors, order=order, ops=ops)

    def view(key, image, mask):
        return chain(key, (image, mask))

    return view
