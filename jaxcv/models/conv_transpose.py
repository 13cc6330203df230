"""ConvTransposeNet and its UNet: strided and transposed convolutions that colour grey images pixel by pixel."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcv.errors import UserError
from jaxcv.models import layers
from jaxcv.ranges import PositiveCount


class Model(nn.Module):
    """Two convolutions of stride 2, two transposed ones, and a last one, all of size `kernel`.

    `skips` makes it the UNet (after Ronneberger et al. 2015, arXiv 1505.04597): the second transposed convolution
    also gets the first convolution's output, and the last convolution the image. `width` is doubled in the second.
    """

    num_classes: PositiveCount = 24
    width: PositiveCount = 32
    kernel: PositiveCount = 3
    skips: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images (b, h, w, c), h and w at least 4, to (logits (b, h, w, num_classes), stages).

        "sequential1" to "sequential4" are 1/2, 1/4, 1/2 and 1 of the image's size, "conv1" is the logits. A side that
        is not a multiple of 4 is rounded to one, up for an odd kernel and down for an even one; with skips it is a
        UserError.
        """
        layers.check_image_size(x, 4, "conv_transpose")
        h, w = x.shape[1:3]
        if self.skips and (h % 4 or w % 4):
            raise UserError(f"conv_transpose with skips needs images with sides a multiple of 4, not {h} x {w}.")
        dtype = layers.float_dtype(self.dtype)
        # halve and double the size exactly: kernel 3 has padding 1 and output padding 1, 4 has 1 and 0, 5 has 2 and 1
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

        x1 = down(x, self.width, "sequential1")
        x2 = down(x1, 2 * self.width, "sequential2")
        x3 = up(x2, self.width, "sequential3")
        x4 = up(join(x1, x3), self.num_classes, "sequential4")
        x5 = join(x, x4)
        # "SAME" is torch's padding="same": for an even kernel one more row below and one more column to the right
        options = {"padding": "SAME", "in_features": x5.shape[-1], "use_bias": True, "name": "conv1"}
        x = stages["conv1"] = layers.conv(self.num_classes, self.kernel, **options)(x5)
        return x, stages
