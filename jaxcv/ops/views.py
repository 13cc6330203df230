"""From a config's options to augmentations on the device: a view of an image, and the views of a batch."""

import functools
from collections.abc import Callable, Mapping, Sequence
from inspect import signature

import jax
import jax.numpy as jnp

from jaxcv.config import check_options, nearest
from jaxcv.errors import ConfigError, UserError
from jaxcv.ops.autoaugment import random_autoaugment, random_randaugment
from jaxcv.ops.blur import random_gaussian_blur
from jaxcv.ops.color import normalize, random_color_jitter, random_grayscale, random_solarize
from jaxcv.ops.erase import random_erase
from jaxcv.ops.geometry import center_crop, random_flip, random_pad_crop, random_resized_crop, resize
from jaxcv.ops.warp import random_rotation
from jaxcv.prng import stream
from jaxcv.task import Augment, Batch

View = Callable[[jax.Array, jax.Array], jax.Array]  # (key, image (h, w, c)) -> image


def _without_key(op: Callable) -> Callable:
    """`op(image, ...)`, in which nothing is random, as an op that takes a key."""

    @functools.wraps(op)  # so that `op` shows its options
    def view(key: jax.Array, image: jax.Array, **options) -> jax.Array:
        return op(image, **options)

    return view


OPS: dict[str, Callable] = {
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


def make_chain(
    group: str, functions: Mapping[str, Callable], *, order: Sequence[str], options: Mapping[str, Mapping | None]
) -> Callable:
    """`chain(key, x) -> x`: the functions named in `order`, one after the other.

    Each has the random stream of its name, so another order, or other options of one function, do not change the random
    numbers of the others.

    Args:
      group: of the config, which has `order` and `options`.
      functions: by name, functions `(key, x, *, **options) -> x`.
      order: names of functions.
      options: by name, the options of a function. Without any, or with p 0, the function is left out.

    Raises: ConfigError for an unknown function or option, a missing option, one outside of its range, and a function
      with options that is not in the order exactly once; the chain raises it for what does not fit the image.
    """
    used = {name: chosen for name, chosen in options.items() if chosen}
    for name in order:
        if name not in functions:
            raise ConfigError(f"config.{group}.order has {name!r}; {nearest(name, list(functions))}")
    for name, chosen in used.items():
        if name not in functions:
            raise ConfigError(f"config.{group} has no key {name!r}; {nearest(name, list(functions))}")
        if not hasattr(chosen, "items"):
            raise ConfigError(f"config.{group}.{name}={chosen!r} must be a group of options.")
        given = [x.name for x in signature(functions[name]).parameters.values() if x.kind is x.POSITIONAL_OR_KEYWORD]
        check_options(functions[name], chosen, group=f"{group}.{name}", given=given)
        if (count := list(order).count(name)) != 1:
            raise ConfigError(f"config.{group}.{name} has options, so `order` must hold it once, not {count} times.")
    steps = [name for name in order if name in used and used[name].get("p", 1) > 0]

    def chain(key, x):
        for name in steps:
            try:
                x = functions[name](stream(key, name), x, **dict(used[name]))
            except UserError as error:
                raise ConfigError(f"config.{group}.{name}: {error}") from error
        return x

    return chain


def make_view(group: str, /, *, order: Sequence[str] = tuple(OPS), **ops: Mapping | None) -> View:
    """A view of an image: the ops named in `order`, one after the other, as in `make_chain`, with its errors.

    Args:
      group: of the config, which has the other arguments.
      order: names of `OPS`; by default all, in the order of `OPS`.
      **ops: by name, the options of that function of `OPS`; an op without options is left out.

    Returns: `view(key, image)`: (h, w, c) float32 in [0, 1] -> (h, w, c) float32, of the last size that an op sets.
    """
    return make_chain(group, OPS, order=order, options=ops)


def make_views(views: Mapping[str, View], *, mean: Sequence[float], std: Sequence[float]) -> Augment:
    """The augmentation of a batch: `augment(key, batch)`, with the views by name in the place of `image`.

    `batch["image"]` is (b, h, w, c), uint8 (divided by 255) or float in [0, 1]; each image has its own key in each
    view. Views are clipped to [0, 1], then normalised by the channels' `mean` and `std`: float32. The rest of the batch
    is unchanged.

    Raises: UserError for images of another rank or another integer type.
    """

    def augment(key: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        rest = dict(batch)
        image = rest.pop("image")
        if image.ndim != 4 or not (image.dtype == jnp.uint8 or jnp.issubdtype(image.dtype, jnp.floating)):
            raise UserError(f"image must be b h w c, uint8 or float, not {image.dtype} of shape {image.shape}")
        image = image.astype(jnp.float32) / 255 if image.dtype == jnp.uint8 else image.astype(jnp.float32)

        def see(name: str, view: View) -> jax.Array:
            def one(key: jax.Array, image: jax.Array) -> jax.Array:
                return normalize(jnp.clip(view(key, image), 0.0, 1.0), mean=mean, std=std)

            return jax.vmap(one)(jax.random.split(stream(key, name), image.shape[0]), image)

        return rest | {name: see(name, view) for name, view in views.items()}

    return augment
