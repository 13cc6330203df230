"""torch's numbers for FCN-32s, -16s and -8s: `cd tests; python -m goldens.make_fcn`. See parity.py."""

from pathlib import Path
from typing import Any

from goldens.parity import Case, import_torchvision, main
from jaxcv.models import fcn8s, fcn16s, fcn32s

FILE = Path(__file__).with_name("fcn.npz")
SMALL = {"num_classes": 3, "width": 8, "hidden": 16, "dropout": 0.0}
CASES = {
    "32s-2": Case(fcn32s.Model(depth=11, **SMALL), (1, 97, 70, 3)),
    "32s-1": Case(fcn32s.Model(depth=11, kernel=1, **SMALL), (2, 70, 40, 3), golden=False),
    "32s-7": Case(fcn32s.Model(depth=13, kernel=7, **SMALL), (2, 70, 97, 3), golden=False),
    "16s": Case(fcn16s.Model(depth=11, **SMALL), (1, 64, 79, 3)),
    "8s": Case(fcn8s.Model(depth=11, num_classes=3, width=8), (2, 39, 64, 3)),
    "8s-no-skips": Case(fcn8s.Model(depth=11, num_classes=3, skips=False, width=8), (2, 40, 63, 3)),
    "8s-19": Case(fcn8s.Model(depth=19, width=16), (2, 64, 32, 3), golden=False),
    "8s-full": Case(fcn8s.Model(), (1, 64, 64, 3), golden=False),
    "32s-full": Case(fcn32s.Model(dropout=0.0), (1, 64, 64, 3), golden=False),
    "16s-full": Case(fcn16s.Model(dropout=0.0), (1, 64, 64, 3), golden=False),
}


def build_torch(name: str) -> Any:
    """The networks as the documents print them, on torchvision's VGG, as narrow."""
    import torch
    from torch import nn

    model = CASES[name].model
    vgg = import_torchvision().models.vgg
    layout = vgg.cfgs[{11: "A", 13: "B", 16: "D", 19: "E"}[model.depth]]
    trunk = nn.Module()
    trunk.features = vgg.make_layers([v if v == "M" else v * model.width // 64 for v in layout])
    wide = 8 * model.width

    def pools(x):
        out = []
        for layer in trunk.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                out.append(x)
        return out

    def classifier(kernel):
        return [
            nn.Conv2d(wide, model.hidden, kernel, padding=(kernel - 1) // 2),
            nn.ReLU(),
            nn.Dropout2d(model.dropout),
            nn.Conv2d(model.hidden, model.hidden, 1),
            nn.ReLU(),
            nn.Dropout2d(model.dropout),
            nn.Conv2d(model.hidden, model.num_classes, 1),
        ]

    class FCN32s(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = trunk
            self.classifier = nn.Sequential(*classifier(model.kernel))
            self.upsample32 = nn.ConvTranspose2d(model.num_classes, model.num_classes, 64, 32, bias=False)

        def forward(self, x):
            y = self.upsample32(self.classifier(pools(x)[-1]))
            cut = 0 if model.kernel == 2 else 16
            return y[:, :, cut : cut + x.shape[2] // 32 * 32, cut : cut + x.shape[3] // 32 * 32]

    class FCN16s(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = trunk
            up = nn.ConvTranspose2d(model.num_classes, wide, 4, 2, bias=False)
            self.classifier = nn.Sequential(*classifier(2), up)
            self.upsample16 = nn.ConvTranspose2d(wide, model.num_classes, 16, 16, bias=False)

        def forward(self, x):
            *_, pool4, pool5 = pools(x)
            return self.upsample16(self.classifier(pool5) + pool4)

    class FCN8s(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = trunk
            channels = [wide, wide, wide // 2, wide // 4, wide // 8, wide // 16]
            for i in range(1, 6):
                self.add_module(f"deconv{i}", nn.ConvTranspose2d(channels[i - 1], channels[i], 3, 2, 1, 1))
                self.add_module(f"bn{i}", nn.BatchNorm2d(channels[i]))
            self.classifier = nn.Conv2d(channels[5], model.num_classes, 1)

        def forward(self, x):
            _, _, x3, x4, x5 = pools(x)
            score = torch.relu(self.deconv1(x5))
            score = self.bn1(score + x4 if model.skips else score)
            score = torch.relu(self.deconv2(score))
            score = self.bn2(score + x3 if model.skips else score)
            score = self.bn3(torch.relu(self.deconv3(score)))
            score = self.bn4(torch.relu(self.deconv4(score)))
            score = self.bn5(torch.relu(self.deconv5(score)))
            return self.classifier(score)

    return {fcn32s.Model: FCN32s, fcn16s.Model: FCN16s, fcn8s.Model: FCN8s}[type(model)]()


if __name__ == "__main__":
    main(FILE, CASES, build_torch)
