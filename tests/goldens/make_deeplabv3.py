"""torchvision's numbers for DeepLabV3: `cd tests; python -m goldens.make_deeplabv3`. See parity.py."""

from pathlib import Path
from typing import Any

from goldens.make_resnet import WIDTH, build_narrow
from goldens.parity import Case, import_torchvision, main
from jaxcv.models import deeplabv3

FILE = Path(__file__).with_name("deeplabv3.npz")


def _case(depth, golden=False, width=64):
    model = deeplabv3.Model(depth, num_classes=5, aux=True, dropout=0, aux_dropout=0, width=width)
    return Case(model, (2, 17, 303, 3), golden, aux=("aux",))  # at 1/8, the dilation of 36 reaches another pixel


CASES = {"resnet50": _case(50), "resnet101": _case(101), "narrow": _case(50, golden=True, width=WIDTH)}


def build_torch(name: str) -> Any:
    """The torchvision model of this case, without dropout."""
    import torch

    tv = import_torchvision().models.segmentation
    if name == "narrow":
        trunk = build_narrow(50, replace_stride_with_dilation=[False, True, True])
        trunk = tv.deeplabv3.IntermediateLayerGetter(trunk, {"layer4": "out", "layer3": "aux"})
        head, aux = tv.deeplabv3.DeepLabHead(32 * WIDTH, 5), tv.fcn.FCNHead(16 * WIDTH, 5)
        net = tv.deeplabv3.DeepLabV3(trunk, head, aux)
    else:
        build = getattr(tv, f"deeplabv3_{name}")
        net = build(weights=None, weights_backbone=None, num_classes=5, aux_loss=True)
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0
    forward = net.forward
    net.forward = lambda x: {{"out": "output"}.get(name, name): y for name, y in forward(x).items()}
    return net


if __name__ == "__main__":
    main(FILE, CASES, build_torch)
