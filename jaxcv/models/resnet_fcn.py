"""ResNet-18 without its classifier, a few convolutions, and upsampling by 32 in total: a course's segmenters."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcv.errors import ConfigError
from jaxcv.models import layers, resnet
from jaxcv.ranges import Decay, PositiveCount, PositiveCounts


class Model(nn.Module):
    """3x3 convolutions of `hidden` channels with ReLU, each upsampled by 2, and a last one, upsampled by the rest.

    The rows of the report (224 x 224 x 3, 6 classes) and the parameters of their heads:

        one layer, dropout   hidden=(256,), last_kernel=1, batch_norm=False, dropout=0.5    1,181,446
        dilation 4, 8, 16    the same, and last_dilation=4, 8 or 16                         1,181,446
        1 convolution        hidden=()                                                         27,666
        2 convolutions       hidden=(256,)                                                  1,194,258
        3, the best          hidden=(256, 128)                                              1,482,642
        4                    hidden=(256, 128, 64)                                          1,553,106
        5                    hidden=(256, 128, 64, 32)                                      1,569,906

    The report prints only the best one in full, with BatchNorm and ReLU on its logits. BatchNorm in the others is our
    reading, least certain for 1 convolution, whose numbers in the report are those of "one layer, dropout". Of the
    latter, the last convolution and the rate of dropout are not printed; the text upsamples it by 32 at once, the table
    by 2 after the hidden convolution, which is the same if the last one is 1x1. Upsampling repeats pixels, torch's
    default. The report gives both convolutions of ResNet's last block the dilation, and new weights instead of
    pretrained ones; at 224 x 224 pixels, with dilation 8 and 16 only the centre of the kernel is inside the 7 x 7 map.

    `batch_norm` follows each convolution, and adds ReLU to the last one; `dropout` precedes the first. `width` is that
    of the ResNet. The convolutions of the head have torch's default initial weights.
    """

    num_classes: PositiveCount = 6
    hidden: PositiveCounts = (256, 128)
    last_kernel: PositiveCount = 3
    batch_norm: bool = True
    dropout: Decay = 0.0
    last_dilation: PositiveCount = 1
    width: PositiveCount = 64
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images (b, h, w, c) to (logits (b, h', w', num_classes), stages).

        h' and w' are h and w rounded up to a multiple of 32. The stages are the ResNet's, "conv1" and on, the head's
        convolutions before upsampling, of which the first is 1/32 of that size, and "logits".
        """
        if len(self.hidden) > 4:
            raise ConfigError(
                f"config.model.hidden={self.hidden} must be at most four, each to be upsampled by 2 of 32."
            )
        if self.last_kernel % 2 == 0:
            raise ConfigError(f"config.model.last_kernel={self.last_kernel} must be odd, to keep the size.")
        dtype = layers.float_dtype(self.dtype)
        backbone = resnet.Model(
            18, num_classes=None, width=self.width, last_dilation=self.last_dilation, dtype=dtype, name="backbone"
        )
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
        x = conv(x, self.num_classes, self.last_kernel, last, jnp.promote_types(dtype, jnp.float32))
        x = stages[f"conv{last}"] = nn.relu(x) if self.batch_norm else x
        x = stages["logits"] = layers.upsample(x, 32 // 2 ** len(self.hidden))
        return x, stages
