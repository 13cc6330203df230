"""FCN-32s (Long et al. 2015, arXiv 1411.4038): VGG whose linear layers are convolutions, scores upsampled 32 times."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcv.errors import ConfigError, UserError
from jaxcv.models import layers, vgg


class Classifier(nn.Module):
    """VGG's linear layers as convolutions: conv6 of `kernel`, conv7 of 1, each with dropout of channels, and scores."""

    num_classes: int
    kernel: int
    hidden: int
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """b h w c to (scores, stages): b h w num_classes for an odd kernel, 1 less in height and width for an even."""

        def conv(x, features, kernel, dtype, name):
            options = {"in_features": x.shape[-1], "use_bias": True, "dtype": dtype, "name": name}
            return layers.conv(features, kernel, padding=(kernel - 1) // 2, **options)(x)

        def drop(x):
            return layers.dropout(self, x, self.dropout, train=train, shared=(1, 2))

        stages = {}
        x = stages["conv6"] = nn.relu(conv(x, self.hidden, self.kernel, self.dtype, "0"))
        x = stages["conv7"] = nn.relu(conv(drop(x), self.hidden, 1, self.dtype, "3"))
        x = stages["scores"] = conv(drop(x), self.num_classes, 1, None, "6")  # in the dtype of its parameters
        return x, stages


class Model(nn.Module):
    """FCN-32s on VGG of any `depth`.

    `kernel` is that of conv6: 2 or, with padding, 1 or 7 (VGG's own; the paper pads the image instead). `width` is
    the number of channels of VGG's first stage, `hidden` that of conv6 and conv7, which `dropout` follows. `dtype`,
    or its name, is that of the computation; parameters, scores and what follows them are float32.
    """

    depth: int = 16
    num_classes: int = 7
    kernel: int = 2
    width: int = 64
    hidden: int = 4096
    dropout: float = 0.5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images b h w c, float, any c, to (output, stages): logits b h' w' num_classes, and every stage by name.

        h' and w' are h and w, rounded down to a multiple of 32: the rest is cut off below and on the right.
        Besides VGG's stages there are "conv6", "conv7" and "scores" of some 1/32 of the size, and "logits".
        UserError for an image of less than 32 pixels, or 64 if the kernel is even; ConfigError for a kernel below 1
        or an unknown depth.
        """
        if self.kernel < 1:
            raise ConfigError(f"FCN-32s has no kernel {self.kernel!r}; it must be at least 1.")
        even = self.kernel % 2 == 0
        if even and min(x.shape[1:3]) < 64:
            raise UserError(
                f"FCN-32s of kernel {self.kernel} needs images of at least 64 x 64 pixels, "
                f"not {x.shape[1]} x {x.shape[2]}."
            )
        dtype = layers.float_dtype(self.dtype)
        backbone = vgg.Model(self.depth, num_classes=None, width=self.width, dtype=dtype, name="backbone")
        _, stages = backbone(x, train=train)
        classifier = Classifier(self.num_classes, self.kernel, self.hidden, self.dropout, dtype, name="classifier")
        x, more = classifier(stages["pool5"], train=train)

        padding = 0 if even else 16
        options = {"use_bias": False, "name": "upsample32"}
        x = layers.ConvTranspose(self.num_classes, 64, 32, padding, **options)(x)
        return x, stages | more | {"logits": x}
