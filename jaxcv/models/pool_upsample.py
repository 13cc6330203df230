"""PoolUpsampleNet: an encoder of max-pooling and a decoder of upsampling, to colour grey images pixel by pixel."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcv.errors import ConfigError, UserError
from jaxcv.models import layers


class Model(nn.Module):
    """Convolutions of an odd `kernel`, with `width` channels in the first and twice as many at the narrowest.

    `dtype`, or its name, is that of the computation; parameters, batch statistics and the last layer are float32.
    """

    num_classes: int = 24
    width: int = 32
    kernel: int = 3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images b h w c, float, any c, to (output, stages): logits b h w num_classes, and every stage by name.

        "sequential1" to "sequential4" are 1/2, 1/4, 1/2 and 1 of the image's size, "conv1" the logits. Rows and
        columns beyond a multiple of 4 are lost. ConfigError for an even kernel, UserError for images of less than
        4 pixels.
        """
        if self.kernel % 2 == 0:
            raise ConfigError(f"pool_upsample has kernel {self.kernel}; it must be odd, to keep the image's size.")
        if min(x.shape[1:3]) < 4:
            raise UserError(f"pool_upsample needs images of at least 4 x 4 pixels, not {x.shape[1]} x {x.shape[2]}.")
        dtype = layers.float_dtype(self.dtype)
        stages = {}

        def conv(x, features, name, dtype):
            options = {"in_features": x.shape[-1], "use_bias": True, "dtype": dtype, "name": name}
            return layers.conv(features, self.kernel, 1, self.kernel // 2, **options)(x)

        def block(x, features, resize, name):
            x = resize(conv(x, features, f"{name}.0", dtype))
            stages[name] = nn.relu(layers.BatchNorm(dtype=dtype, name=f"{name}.2")(x, train=train))
            return stages[name]

        def pool(x):
            return layers.max_pool(x, 2, 2)

        def upsample(x):
            return layers.upsample(x, 2)

        x = block(x, self.width, pool, "sequential1")  # b h/2 w/2 c
        x = block(x, 2 * self.width, pool, "sequential2")  # b h/4 w/4 2c
        x = block(x, self.width, upsample, "sequential3")  # b h/2 w/2 c
        x = block(x, self.num_classes, upsample, "sequential4")  # b h w num_classes
        x = stages["conv1"] = conv(x, self.num_classes, "conv1", None)  # in the dtype of its parameters
        return x, stages
