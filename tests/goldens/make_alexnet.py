"""torchvision's numbers for AlexNet: `cd tests; python -m goldens.make_alexnet`. See parity.py."""

from pathlib import Path
from typing import Any

from goldens.parity import Case, import_torchvision, main
from jaxcv.models import alexnet

FILE = Path(__file__).with_name("alexnet.npz")
CASES = {
    "narrow": Case(alexnet.Model(num_classes=10, width=8, hidden=32, dropout=0.0), (2, 79, 67, 3)),
    "full": Case(alexnet.Model(dropout=0.0), (1, 224, 224, 3), golden=False),
}


def build_torch(name: str) -> Any:
    """The torchvision model of this case."""
    from torch.nn import Conv2d, Linear

    net = import_torchvision().models.alexnet(dropout=0.0)
    if name == "full":
        return net
    for i, layer in enumerate(net.features):
        if isinstance(layer, Conv2d):
            channels = 3 if i == 0 else layer.in_channels // 8
            net.features[i] = Conv2d(channels, layer.out_channels // 8, layer.kernel_size, layer.stride, layer.padding)
    net.classifier[1], net.classifier[4], net.classifier[6] = Linear(32 * 6 * 6, 32), Linear(32, 32), Linear(32, 10)
    return net


if __name__ == "__main__":
    main(FILE, CASES, build_torch)
