"""torch's numbers for U-Net: `cd tests; python -m goldens.make_unet`. See parity.py."""

from pathlib import Path
from typing import Any

from goldens.parity import Case, main
from jaxcv.models import unet

FILE = Path(__file__).with_name("unet.npz")
CASES = {
    "unet": Case(unet.Model(), (1, 48, 32, 3), golden=False),
    "norm": Case(unet.Model(depth=1, num_classes=3, width=8), (2, 8, 12, 3)),
    "plain": Case(unet.Model(depth=2, num_classes=3, width=4, batch_norm=False), (2, 11, 13, 1)),
}


def build_torch(name: str) -> Any:
    """The usual public form (github.com/milesial/Pytorch-UNet, transposed convolutions), written down anew."""
    import torch
    from torch import nn

    class Named(nn.Module):
        """Modules by name, without a forward of their own."""

        def __init__(self, **modules):
            super().__init__()
            for key, module in modules.items():
                self.add_module(key, module)

    def double_conv(c_in, c_out):
        modules = []
        for c in (c_in, c_out):
            modules.append(nn.Conv2d(c, c_out, 3, padding=1, bias=not model.batch_norm))
            modules += [nn.BatchNorm2d(c_out)] if model.batch_norm else []
            modules.append(nn.ReLU())
        return nn.Sequential(*modules)

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            width = [model.width * 2**i for i in range(model.depth + 1)]
            self.inc = Named(double_conv=double_conv(CASES[name].shape[3], width[0]))
            for i in range(1, model.depth + 1):
                block = Named(double_conv=double_conv(width[i - 1], width[i]))
                self.add_module(f"down{i}", Named(maxpool_conv=nn.ModuleList([nn.MaxPool2d(2), block])))
                wide, narrow = width[-i], width[-i - 1]
                up = nn.ConvTranspose2d(wide, narrow, 2, 2)
                self.add_module(f"up{i}", Named(up=up, conv=Named(double_conv=double_conv(wide, narrow))))
            self.outc = Named(conv=nn.Conv2d(width[0], model.num_classes, 1))

        def forward(self, x):
            skips = [self.inc.double_conv(x)]
            for i in range(1, model.depth + 1):
                pool, block = getattr(self, f"down{i}").maxpool_conv
                skips.append(block.double_conv(pool(skips[-1])))
            x = skips.pop()
            for i in range(1, model.depth + 1):
                up, skip = getattr(self, f"up{i}"), skips.pop()
                x = up.up(x)
                dy, dx = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
                x = nn.functional.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
                x = up.conv.double_conv(torch.cat([skip, x], 1))
            return self.outc.conv(x)

    model = CASES[name].model
    return UNet()


if __name__ == "__main__":
    main(FILE, CASES, build_torch)
