"""From a config's options to views of a batch on device: one of each image to classify it, or two as in BYOL."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from jaxcv.config import nearest
from jaxcv.errors import ConfigError, UserError
from jaxcv.ops.autoaugment import random_autoaugment, random_randaugment
from jaxcv.ops.blur import random_gaussian_blur
from jaxcv.ops.color import normalize, random_color_jitter, random_grayscale, random_solarize
from jaxcv.ops.erase import random_erase
from jaxcv.ops.geometry import center_crop, random_flip, random_pad_crop, random_resized_crop, resize
from jaxcv.ops.warp import random_rotation
from jaxcv.prng import stream

View = Callable[[jax.Array, jax.Array], jax.Array]


def _without_key(op: Callable) -> View:
    @functools.wraps(op)  # with its options
    def view(key, image, **options):
        return op(image, **options)

    return view


OPS = {
    "resize": _without_key(resize),
    "center_crop": _without_key(center_crop),
    "crop": random_resized_crop,
    "pad_crop": random_pad_crop,
    "rotate": random_rotation,
    "flip": random_flip,
    "autoaugment": random_autoaugment,
    "randaugment": random_randaugment,
    "jitter": random_color_jitter,
    "gray": random_grayscale,
    "blur": random_gaussian_blur,
    "solarize": random_solarize,
    "erase": random_erase,
}


def _check_known(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown {kind} {name!r}: {nearest(name, known)}")


def _check_options(name: str, options: Mapping, op: Callable) -> None:
    parameters = inspect.signature(op).parameters.values()
    known = {x.name: x.default for x in parameters if x.kind is x.KEYWORD_ONLY}
    _check_known(f"option of {name}", options, list(known))
    missing = [x for x, default in known.items() if default is inspect.Parameter.empty and x not in options]
    if missing:
        raise ConfigError(f"{name} needs the option {missing[0]!r}")
    if not 0 <= options.get("p", 1) <= 1:
        raise ConfigError(f"{name}.p must be a probability in [0, 1], not {options['p']}")


def make_chain(*, known: Mapping[str, Callable], order: Sequence[str], ops: Mapping[str, Mapping | None]) -> Callable:
    """`chain(key, x) -> x`: the ops named in `order`, one after the other, each drawing from the stream of its name.

    So changing an op's options, or the order, moves no other op's numbers.

    Args:
      known: functions `(key, x, **options) -> x` by name.
      order: names out of `known`.
      ops: by name, options as mappings. An op is left out when its options are None or empty or its p is 0.

    Raises: ConfigError for an unknown op or option, a missing option, a p outside [0, 1], and an op with
      options that the order does not hold exactly once.
    """
    order, ops = tuple(order), {name: dict(options) for name, options in ops.items() if options}
    _check_known("op in order", order, list(known))
    _check_known("op", list(ops), list(known))
    for name, options in ops.items():
        _check_options(name, options, known[name])
        if order.count(name) != 1:
            raise ConfigError(f"{name} has options, so order must hold it once, not {order.count(name)} times")
    used = [name for name in order if name in ops and ops[name].get("p", 1) > 0]

    def chain(key, x):
        for name in used:
            x = known[name](stream(key, name), x, **ops[name])
        return x

    return chain


def make_view(*, order: Sequence[str] = tuple(OPS), **ops: Mapping | None) -> View:
    """A view: the ops named in `order`, one after the other, as in `make_chain`, whose errors are its.

    Args:
      order: names out of `OPS`; by default all, in its order.
      **ops: by name, the options of that function of `OPS`, as mappings; an op without any is left out.

    Returns: `view(key, image)`: h w c float32 in [0, 1] -> h w c float32, of the last size that an op sets.
    """
    return make_chain(known=OPS, order=order, ops=ops)


def _make_augment(views: Mapping[str, View], *, mean: Sequence[float], std: Sequence[float]) -> Callable:
    def augment(key, batch):
        batch = dict(batch)
        image = batch.pop("image")
        if image.ndim != 4 or not (image.dtype == jnp.uint8 or jnp.issubdtype(image.dtype, jnp.floating)):
            raise UserError(f"image must be b h w c, uint8 or float, not {image.dtype} of shape {image.shape}")
        image = image.astype(jnp.float32) / 255 if image.dtype == jnp.uint8 else image.astype(jnp.float32)

        def see(name, view):
            def one(key, image):
                return normalize(jnp.clip(view(key, image), 0.0, 1.0), mean=mean, std=std)

            return jax.vmap(one)(jax.random.split(stream(key, name), image.shape[0]), image)

        return batch | {name: see(name, view) for name, view in views.items()}

    return augment


def make_one_view(view: View, *, mean: Sequence[float], std: Sequence[float]) -> Callable:
    """As `make_two_views`, but the one view takes the place of `image` under that name."""
    return _make_augment({"image": view}, mean=mean, std=std)


def make_two_views(view1: View, view2: View, *, mean: Sequence[float], std: Sequence[float]) -> Callable:
    """The augmentation of a batch: `augment(key, batch)`, with `view1` and `view2` in the place of `image`.

    `batch["image"]` is b h w c, uint8 (divided by 255) or float in [0, 1]; each image has its own key in each
    view. Views are clipped to [0, 1], then normalised: b s s c float32. All else passes unchanged.

    Args:
      view1, view2: functions `(key, image) -> image`, as of `make_view`.
      mean, std: for each channel, of images in [0, 1].

    Raises: UserError for images of another rank or another integer type.
    """
    return _make_augment({"view1": view1, "view2": view2}, mean=mean, std=std)
