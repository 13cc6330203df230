"""torch's numbers for the ResNet-18 segmenters: `cd tests; python -m goldens.make_resnet_fcn`. See parity.py."""

from pathlib import Path
from typing import Any

from goldens.make_resnet import WIDTH, build_narrow
from goldens.parity import Case, import_torchvision, main
from jaxcv.models import resnet_fcn

FILE = Path(__file__).with_name("resnet_fcn.npz")


def _plain(dilation, columns, golden=False, **fields):
    model = resnet_fcn.Model(hidden=(256,), last_kernel=1, batch_norm=False, last_dilation=dilation, **fields)
    return Case(model, (2, 64, columns, 3), golden)


def _convs(hidden, golden=False, **fields):
    return Case(resnet_fcn.Model(hidden=hidden, **fields), (2, 40, 70, 3), golden)


CASES = {  # with a dilation, wide enough at 1/32 for it to reach another pixel
    "plain": _plain(1, 97),
    "dilation4": _plain(4, 161),
    "dilation8": _plain(8, 289),
    "dilation16": _plain(16, 545),
    "1": _convs(()),
    "2": _convs((256,)),
    "3": _convs((256, 128)),
    "4": _convs((256, 128, 64)),
    "5": _convs((256, 128, 64, 32)),
    "narrow dilation4": _plain(4, 161, golden=True, width=WIDTH),
    "narrow 3": _convs((16, 8), golden=True, width=WIDTH),
}


def build_torch(name: str) -> Any:
    """The network of this case as the report has it: the children of torchvision's ResNet-18, then the head."""
    from torch import nn

    model = CASES[name].model
    trunk = import_torchvision().models.resnet18() if model.width == 64 else build_narrow(18)
    channels, dilation = trunk.fc.in_features, model.last_dilation
    if dilation > 1:
        for conv in ("conv1", "conv2"):
            replaced = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
            setattr(trunk.layer4[1], conv, replaced)

    if not model.batch_norm:
        head = {
            "conv1": nn.Conv2d(channels, 256, 3, padding=1),
            "relu": nn.ReLU(),
            "upsample": nn.Upsample(scale_factor=2),
            "conv2": nn.Conv2d(256, 6, 1),
            "rest": nn.Upsample(scale_factor=16),
        }
    else:
        head = {}
        for i, features in enumerate((*model.hidden, 6), 1):
            head[f"conv{i}"] = nn.Conv2d(channels, features, 3, padding=1)
            head[f"bn{i}"] = nn.BatchNorm2d(features)
            head[f"relu{i}"] = nn.ReLU()
            head[f"upsample{i}"] = nn.Upsample(scale_factor=2)
            channels = features
        head["rest"] = nn.Upsample(scale_factor=16 // 2 ** len(model.hidden))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            layers = [*trunk.children()][:-2]  # without avgpool and fc
            del trunk.fc
            self.backbone = trunk
            for key, layer in head.items():
                self.add_module(key, layer)
            self.layers = (*layers, *head.values())  # a tuple: they have their names already

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    return Net()


if __name__ == "__main__":
    main(FILE, CASES, build_torch)
