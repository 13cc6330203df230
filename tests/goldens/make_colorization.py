"""torch's numbers for the colourisation nets: `cd tests; python -m goldens.make_colorization`. See parity.py."""

from pathlib import Path
from typing import Any

from goldens.parity import Case, main
from jaxcv.models import conv_transpose, pool_upsample

FILE = Path(__file__).with_name("colorization.npz")
WIDTH, COLOURS = 8, 2


def _case(net, kernel, shape, golden=False, **fields):
    return Case(net.Model(num_classes=COLOURS, width=WIDTH, kernel=kernel, **fields), shape, golden)


CASES = {
    "PoolUpsampleNet 3": _case(pool_upsample, 3, (2, 9, 8, 1), golden=True),
    "PoolUpsampleNet 5": _case(pool_upsample, 5, (2, 9, 8, 1)),
    "ConvTransposeNet 3": _case(conv_transpose, 3, (2, 9, 8, 1), golden=True),
    "ConvTransposeNet 4": _case(conv_transpose, 4, (2, 9, 8, 1)),
    "ConvTransposeNet 5": _case(conv_transpose, 5, (2, 9, 8, 1)),
    "UNet 3": _case(conv_transpose, 3, (2, 8, 8, 3), skips=True),
    "UNet 4": _case(conv_transpose, 4, (2, 8, 8, 3), golden=True, skips=True),
    "UNet 5": _case(conv_transpose, 5, (2, 8, 8, 3), skips=True),
}


def build_torch(name: str) -> Any:
    """The network of this case."""
    net, kernel = name.split()
    make = {"PoolUpsampleNet": pool_upsample_net, "ConvTransposeNet": conv_transpose_net, "UNet": unet}[net]
    return make(int(kernel), WIDTH, COLOURS, CASES[name].shape[-1])


def pool_upsample_net(kernel: int, num_filters: int, num_colours: int, num_in_channels: int) -> Any:
    """PoolUpsampleNet of the course."""
    from torch import nn

    def block(features_in, features, resize):
        conv = nn.Conv2d(features_in, features, kernel, padding=kernel // 2)
        return nn.Sequential(conv, resize, nn.BatchNorm2d(features), nn.ReLU())

    net = nn.Sequential()
    net.add_module("sequential1", block(num_in_channels, num_filters, nn.MaxPool2d(2)))
    net.add_module("sequential2", block(num_filters, 2 * num_filters, nn.MaxPool2d(2)))
    net.add_module("sequential3", block(2 * num_filters, num_filters, nn.Upsample(scale_factor=2)))
    net.add_module("sequential4", block(num_filters, num_colours, nn.Upsample(scale_factor=2)))
    net.add_module("conv1", nn.Conv2d(num_colours, num_colours, kernel, padding=kernel // 2))
    return net


def conv_transpose_net(kernel: int, num_filters: int, num_colours: int, num_in_channels: int) -> Any:
    """Its ConvTransposeNet, with the paddings that are right for kernels 3, 4 and 5."""
    from torch import nn

    down, up = _strided(kernel)
    net = nn.Sequential()
    net.add_module("sequential1", down(num_in_channels, num_filters))
    net.add_module("sequential2", down(num_filters, 2 * num_filters))
    net.add_module("sequential3", up(2 * num_filters, num_filters))
    net.add_module("sequential4", up(num_filters, num_colours))
    net.add_module("conv1", nn.Conv2d(num_colours, num_colours, kernel, padding="same"))
    return net


def unet(kernel: int, num_filters: int, num_colours: int, num_in_channels: int) -> Any:
    """Its UNet: ConvTransposeNet with two concatenations."""
    import torch
    from torch import nn

    down, up = _strided(kernel)

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.sequential1 = down(num_in_channels, num_filters)
            self.sequential2 = down(num_filters, 2 * num_filters)
            self.sequential3 = up(2 * num_filters, num_filters)
            self.sequential4 = up(2 * num_filters, num_colours)
            self.conv1 = nn.Conv2d(num_in_channels + num_colours, num_colours, kernel, padding="same")

        def forward(self, x):
            x1 = self.sequential1(x)
            x2 = self.sequential2(x1)
            x3 = self.sequential3(x2)
            x4 = torch.cat((x1, x3), dim=1)
            x5 = self.sequential4(x4)
            x6 = torch.cat((x, x5), dim=1)
            return self.conv1(x6)

    return UNet()


def _strided(kernel):
    from torch import nn

    padding, output_padding = {3: (1, 1), 4: (1, 0), 5: (2, 1)}[kernel]

    def down(features_in, features):
        conv = nn.Conv2d(features_in, features, kernel, stride=2, padding=padding)
        return nn.Sequential(conv, nn.BatchNorm2d(features), nn.ReLU())

    def up(features_in, features):
        options = {"stride": 2, "padding": padding, "output_padding": output_padding}
        conv = nn.ConvTranspose2d(features_in, features, kernel, **options)
        return nn.Sequential(conv, nn.BatchNorm2d(features), nn.ReLU())

    return down, up


if __name__ == "__main__":
    main(FILE, CASES, build_torch)
