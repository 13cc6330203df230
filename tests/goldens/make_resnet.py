"""torchvision's numbers for ResNet: `cd tests; python -m goldens.make_resnet`. See parity.py."""

from pathlib import Path
from typing import Any

from goldens.parity import Case, import_torchvision, main
from jaxcv.models import resnet

FILE = Path(__file__).with_name("resnet.npz")
WIDTH = 8  # of the narrow cases
DILATED = (True, False, True)  # a stride of 2 between them


def _case(depth, golden=False, **fields):
    return Case(resnet.Model(depth, num_classes=10, **fields), (2, 33, 47, 3), golden)


CASES = {
    **{f"resnet{depth}": _case(depth) for depth in resnet.STAGES},
    "dilated50": _case(50, replace_stride_with_dilation=DILATED),
    "narrow18": _case(18, golden=True, width=WIDTH),
    "narrow50": _case(50, golden=True, width=WIDTH),
    "small": Case(resnet.Model(18, num_classes=10, stem="small"), (4, 32, 32, 3)),
}


def build_torch(name: str) -> Any:
    """The torchvision model of this case; `small` has the 3x3 stem without pooling."""
    import torch

    models = import_torchvision().models
    if name == "dilated50":
        return models.resnet50(num_classes=10, replace_stride_with_dilation=list(DILATED))
    if name.startswith("narrow"):
        return build_narrow(int(name.removeprefix("narrow")), num_classes=10)
    if name != "small":
        return getattr(models, name)(num_classes=10)
    net = models.resnet18(num_classes=10)
    net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    net.maxpool = torch.nn.Identity()
    return net


def build_narrow(depth: int, **options: Any) -> Any:
    """torchvision's ResNet with WIDTH for its 64 channels and so on, which no option of it gives."""
    import torch

    tv = import_torchvision().models.resnet

    class Narrow(tv.ResNet):
        def _make_layer(self, block, planes, *args, **kwargs):
            if planes == 64:
                self.inplanes = WIDTH
            return super()._make_layer(block, planes * WIDTH // 64, *args, **kwargs)

    net = Narrow(tv.BasicBlock if depth < 50 else tv.Bottleneck, resnet.STAGES[depth], **options)
    net.conv1 = torch.nn.Conv2d(3, WIDTH, 7, 2, 3, bias=False)
    net.bn1 = torch.nn.BatchNorm2d(WIDTH)
    net.fc = torch.nn.Linear(net.fc.in_features * WIDTH // 64, net.fc.out_features)
    return net


if __name__ == "__main__":
    main(FILE, CASES, build_torch)
