"""ResNet-18 without its classifier, a few convolutions and upsampling by 32 in all: a course's segmenters."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcv.errors import ConfigError
from jaxcv.models import layers, resnet


class Model(nn.Module):
    """Hidden 3x3 convolutions with ReLU, each upsampled by 2, and a last one, upsampled by the rest of 32.

    The rows of the report (224 x 224 x 3, 6 classes) and the parameters of their heads:

        one layer, dropout   hidden=(256,), last_kernel=1, batch_norm=False, dropout=0.5    1,181,446
        dilation 4, 8, 16    the same, and last_dilation=4, 8 or 16                         1,181,446
        1 convolution        hidden=()                                                         27,666
        2 convolutions       hidden=(256,)                                                  1,194,258
        3, the best          hidden=(256, 128)                                              1,482,642
        4                    hidden=(256, 128, 64)                                          1,553,106
        5                    hidden=(256, 128, 64, 32)                                      1,569,906

    Only the best is printed there in full, with BatchNorm and ReLU on its logits. The others with BatchNorm are our
    reading; 1 convolution most of all, whose numbers there are those of one layer with dropout. Of that one the
    last convolution and the rate of dropout are not printed. The text upsamples it by 32 at once, the table by 2
    behind the hidden convolution: with a last one of 1x1 these are the same. Upsampling repeats pixels, torch's
    default. The report gives both convolutions of ResNet's last block the dilation and new weights, not pretrained
    ones; at 224 x 224 pixels, 8 and 16 leave only the centre of the kernel inside the map of 7 x 7.

    `batch_norm` follows each convolution, and brings ReLU to the last one; `dropout` precedes the first. `width` is
    that of the ResNet. `dtype`, or its name, is that of the computation; parameters, batch statistics and the last
    layer are float32. The convolutions of the head start as torch's do by default.
    """

    num_classes: int = 6
    hidden: tuple[int, ...] = (256, 128)
    last_kernel: int = 3
    batch_norm: bool = True
    dropout: float = 0.0
    last_dilation: int = 1
    width: int = 64
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images b h w c, float, any c, to (output, stages): logits b h' w' num_classes, and every stage by name.

        h' and w' are h and w rounded up to a multiple of 32. Besides the ResNet's stages there are "conv1" and on,
        the head's convolutions before they are upsampled, the first 1/32 of that size, and "logits". ConfigError
        for more than four hidden convolutions, an even kernel, or a dilation below 1.
        """
        if len(self.hidden) > 4:
            raise ConfigError(
                f"resnet_fcn has hidden {self.hidden}; it must be at most four, each to be upsampled by 2 of the 32."
            )
        if self.last_kernel % 2 == 0:
            raise ConfigError(f"resnet_fcn has last_kernel {self.last_kernel}; it must be odd, to keep the size.")
        dtype = layers.float_dtype(self.dtype)
        wide = jnp.promote_types(dtype, jnp.float32)
        options = {"width": self.width, "last_dilation": self.last_dilation, "dtype": dtype, "name": "backbone"}
        backbone = resnet.Model(18, num_classes=None, **options)
        _, stages = backbone(x, train=train)

        def conv(x, features, kernel, index, dtype):
            options = {"in_features": x.shape[-1], "use_bias": True, "dtype": dtype, "name": f"conv{index}"}
            x = layers.conv(features, kernel, 1, kernel // 2, **options)(x)
            if self.batch_norm:
                x = layers.BatchNorm(dtype=dtype, name=f"bn{index}")(x, train=train)
            return x

        x = layers.dropout(self, stages["layer4"], self.dropout, train=train)
        for i, features in enumerate(self.hidden, 1):
            x = stages[f"conv{i}"] = nn.relu(conv(x, features, 3, i, dtype))
            x = layers.upsample(x, 2)
        last = len(self.hidden) + 1
        x = conv(x, self.num_classes, self.last_kernel, last, wide)
        if self.batch_norm:
            x = nn.relu(x)
        stages[f"conv{last}"] = x
        x = stages["logits"] = layers.upsample(x, 32 // 2 ** len(self.hidden))
        return x, stages
