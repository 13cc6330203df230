"""ConvTransposeNet and its UNet: strided and transposed convolutions, to colour grey images pixel by pixel."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcv.errors import UserError
from jaxcv.models import layers


class Model(nn.Module):
    """Two convolutions of stride 2, two transposed ones, and one more.

    `skips` makes it the UNet (after Ronneberger et al. 2015, arXiv 1505.04597): the second transposed convolution
    sees the first convolution's output too, and the last convolution the image. `width` is the number of channels
    of the first convolution; the second has twice as many. `kernel` is that of all. `dtype`, or its name, is that
    of the computation; parameters, batch statistics and the last layer are float32.
    """

    num_classes: int = 24
    width: int = 32
    kernel: int = 3
    skips: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images b h w c, float, any c, to (output, stages): logits b h w num_classes, and every stage by name.

        "sequential1" to "sequential4" are 1/2, 1/4, 1/2 and 1 of the image's size, "conv1" the logits. A size that
        is no multiple of 4 comes out rounded to one, up for an odd kernel and down for an even one; with skips it
        is a UserError, as are images of less than 4 pixels.
        """
        h, w = x.shape[1:3]
        if min(h, w) < 4:
            raise UserError(f"conv_transpose needs images of at least 4 x 4 pixels, not {h} x {w}.")
        if self.skips and (h % 4 or w % 4):
            raise UserError(f"conv_transpose with skips needs images with sides a multiple of 4, not {h} x {w}.")
        dtype = layers.float_dtype(self.dtype)
        # the size is halved and doubled exactly: 3 takes padding 1 and output padding 1, 4 takes 1 and 0, 5 2 and 1
        padding, output_padding = (self.kernel - 1) // 2, self.kernel % 2
        stages = {}

        def finish(x, name):
            stages[name] = nn.relu(layers.BatchNorm(dtype=dtype, name=f"{name}.1")(x, train=train))
            return stages[name]

        def down(x, features, name):
            options = {"in_features": x.shape[-1], "use_bias": True, "dtype": dtype, "name": f"{name}.0"}
            return finish(layers.conv(features, self.kernel, 2, padding, **options)(x), name)

        def up(x, features, name):
            options = {"dtype": dtype, "name": f"{name}.0"}
            return finish(layers.ConvTranspose(features, self.kernel, 2, padding, output_padding, **options)(x), name)

        def join(skip, x):
            return jnp.concatenate((skip, x), -1) if self.skips else x

        x1 = down(x, self.width, "sequential1")  # b h/2 w/2 c
        x2 = down(x1, 2 * self.width, "sequential2")  # b h/4 w/4 2c
        x3 = up(x2, self.width, "sequential3")  # b h/2 w/2 c
        x4 = join(x1, x3)
        x5 = up(x4, self.num_classes, "sequential4")  # b h w num_classes
        x6 = join(x, x5)
        # "SAME" is torch's padding="same": one more row below and column to the right for an even kernel
        options = {"padding": "SAME", "in_features": x6.shape[-1], "use_bias": True, "name": "conv1"}
        last = layers.conv(self.num_classes, self.kernel, **options)
        x7 = stages["conv1"] = last(x6)  # in the dtype of its parameters
        return x7, stages
