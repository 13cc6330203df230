"""PoolUpsampleNet: an encoder of max-pooling and a decoder of upsampling that colour grey images pixel by pixel."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcv.errors import ConfigError
from jaxcv.models import layers
from jaxcv.ranges import PositiveCount


class Model(nn.Module):
    """Convolutions of an odd `kernel`, with `width` channels in the first and twice as many at the narrowest."""

    num_classes: PositiveCount = 24
    width: PositiveCount = 32
    kernel: PositiveCount = 3
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images (b, h, w, c), h and w at least 4, to (logits (b, h, w, num_classes), stages).

        "sequential1" to "sequential4" are 1/2, 1/4, 1/2 and 1 of the image's size, "conv1" is the logits. Rows and
        columns beyond a multiple of 4 are lost.
        """
        if self.kernel % 2 == 0:
            raise ConfigError(f"config.model.kernel={self.kernel} must be odd, to keep the image's size.")
        layers.check_image_size(x, 4, "pool_upsample")
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

        x = block(x, self.width, pool, "sequential1")
        x = block(x, 2 * self.width, pool, "sequential2")
        x = block(x, self.width, upsample, "sequential3")
        x = block(x, self.num_classes, upsample, "sequential4")
        x = stages["conv1"] = conv(x, self.num_classes, "conv1", None)
        return x, stages
