"""torchvision's numbers for EfficientNet: `cd tests; python -m goldens.make_efficientnet`. See parity.py."""

from pathlib import Path
from typing import Any

from goldens.parity import Case, import_torchvision, main
from jaxcv.models import efficientnet

FILE = Path(__file__).with_name("efficientnet.npz")
CASES = {
    name: Case(efficientnet.Model(name, 10, dropout=0.0, stochastic_depth=0.0), (2, 64, 64, 3), golden=name == "b0")
    for name in efficientnet.VARIANTS
}


def build_torch(name: str) -> Any:
    """The torchvision model of this case."""
    models = import_torchvision().models
    return getattr(models, f"efficientnet_{name}")(num_classes=10, dropout=0.0, stochastic_depth_prob=0.0)


if __name__ == "__main__":
    main(FILE, CASES, build_torch)
