"""torch's numbers for BaseNet: `cd tests; python -m goldens.make_basenet`. See parity.py."""

from pathlib import Path
from typing import Any

from goldens.parity import Case, main
from jaxcv.models import basenet

FILE = Path(__file__).with_name("basenet.npz")
ROWS = {  # of the ablation, without dropout: fields, parameters
    "baseline": ({}, 4_414),
    "norm": ({"batch_norm": True}, 4_450),
    "linear1": ({"hidden": (192,), "batch_norm": True}, 40_990),
    "linear2": ({"hidden": (192, 12), "batch_norm": True}, 41_506),
    "improved": ({"channels": (12, 24), "hidden": (192, 12), "batch_norm": True}, 83_974),
}
CASES = {
    name: Case(basenet.Model(**fields), (4, 28, 28, 1), golden=name in ("baseline", "improved"))
    for name, (fields, _) in ROWS.items()
}


def build_torch(name: str) -> Any:
    """The network of this row, with the names that the document prints."""
    from torch import nn

    wide, norm = (12, 24) if name == "improved" else (6, 12), name != "baseline"
    layers, channels = {}, 1
    for i, features in enumerate(wide, 1):
        layers[f"conv{i}"] = nn.Conv2d(channels, features, 5)
        if norm:
            layers[f"bn{i}"] = nn.BatchNorm2d(features)
        layers[f"relu{i}"] = nn.ReLU()
        layers[f"pool{i}"] = nn.MaxPool2d(2)
        channels = features
    layers["flatten"] = nn.Flatten()
    in_features = channels * 4 * 4
    linear = {"linear1": (192, 10), "linear2": (192, 12, 10), "improved": (192, 12, 10)}.get(name, (12, 10))
    for i, features in enumerate(linear, 1):
        layers[f"fc{i}"] = nn.Linear(in_features, features)
        if i < len(linear):
            layers[f"relu{i + 2}"] = nn.ReLU()
        in_features = features
    net = nn.Sequential()
    for key, layer in layers.items():
        net.add_module(key, layer)
    return net


if __name__ == "__main__":
    main(FILE, CASES, build_torch)
