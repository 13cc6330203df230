"""torchvision's numbers for VGG: `cd tests; python -m goldens.make_vgg`. See parity.py."""

from pathlib import Path
from typing import Any

from goldens.parity import Case, import_torchvision, main
from jaxcv.models import vgg

FILE = Path(__file__).with_name("vgg.npz")
CASES = {
    f"vgg{depth}{'_bn' * batch_norm}": Case(
        vgg.Model(depth, num_classes=10, batch_norm=batch_norm, width=8, hidden=32, dropout=0.0),
        (2, 64, 96, 3),
        golden=(depth, batch_norm) in ((16, False), (11, True)),
    )
    for depth in vgg.STAGES
    for batch_norm in (False, True)
}


def build_torch(name: str) -> Any:
    """The torchvision model of this case, as narrow."""
    from torch.nn import Linear

    models = import_torchvision().models
    depth, _, batch_norm = name.removeprefix("vgg").partition("_")
    layout = models.vgg.cfgs[{"11": "A", "13": "B", "16": "D", "19": "E"}[depth]]
    narrow = [v if v == "M" else v // 8 for v in layout]
    net = models.VGG(models.vgg.make_layers(narrow, bool(batch_norm)), dropout=0.0)
    net.classifier[0], net.classifier[3], net.classifier[6] = Linear(64 * 7 * 7, 32), Linear(32, 32), Linear(32, 10)
    return net


if __name__ == "__main__":
    main(FILE, CASES, build_torch)
