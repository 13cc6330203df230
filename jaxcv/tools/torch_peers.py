"""The train step of a config in torch: the same network, loss and optimiser, for `jaxcv bench --peer=torch`.

Needs torch, which is not installed with this package. The batch is one that was augmented before, so that a step of
jaxcv does more: it also augments.
"""

import copy
import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxcv.errors import UserError
from jaxcv.experiment import build

MODES = {"eager": (False, False), "channels_last": (False, True), "compile": (True, False), "both": (True, True)}


def measure(config: ConfigDict, *, steps: int) -> dict[str, Any]:
    """{"mode", "time/step", "times", "torch"}: the fastest way in which torch computes a step, and seconds by mode.

    Raises UserError without torch, for a network that has no peer here, and where the numbers of parameters differ.
    """
    try:
        import torch
    except ImportError:
        raise UserError("--peer=torch needs torch: pip install torch.") from None
    batch, parameters = augmented_batch(config)
    times = {}
    for mode, (compiled, channels_last) in MODES.items():
        torch.manual_seed(0)
        step, count = make_step(config, batch, compiled=compiled, channels_last=channels_last)
        if count != parameters:
            raise UserError(f"the torch peer of {config.model.name} has {count} parameters, and jaxcv {parameters}.")
        for _ in range(3):
            step()
        durations = []
        for _ in range(steps):
            before = time.perf_counter()
            step()
            durations.append(time.perf_counter() - before)
        times[mode] = statistics.median(durations)
    mode = min(times, key=lambda mode: times[mode])
    return {"mode": mode, "time/step": times[mode], "times": times, "torch": torch.__version__}


def augmented_batch(config: ConfigDict) -> tuple[dict[str, np.ndarray], int]:
    """The first batch as the network sees it, images float32 (b, h, w, c), and how many parameters jaxcv trains."""
    experiment = build(config)
    with experiment.data.open_batches(start=0) as batches:
        batch = next(batches)
    if experiment.task.augment:
        batch = jax.jit(experiment.task.augment)(jax.random.key(0), batch)
    parameters = sum(x.size for x in jax.tree.leaves(experiment.compiled.abstract.params))
    return {name: np.asarray(value) for name, value in batch.items()}, parameters


def make_step(config: ConfigDict, batch: Mapping, *, compiled: bool, channels_last: bool) -> tuple[Callable, int]:
    """(step(), number of trained parameters) on one batch."""
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format

    def image(x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(x, np.float32)).permute(0, 3, 1, 2).contiguous(memory_format=layout)

    classes = config_classes(config, batch)
    network = make_network(config.model, classes).train().to(memory_format=layout)
    wrap = torch.compile if compiled else (lambda module: module)
    if config.task.name == "byol":
        loss, after, trained = byol(network, config.task, image(batch["view1"]), image(batch["view2"]), wrap)
    else:
        forward, trained = wrap(network), list(network.parameters())
        x, target = image(batch["image"]), torch.from_numpy(np.array(batch.get("mask", batch.get("label")), np.int64))
        target = torch.where((target >= 0) & (target < classes), target, -100)  # void pixels

        def loss() -> torch.Tensor:
            return torch.nn.functional.cross_entropy(forward(x), target)

        def after() -> None:
            pass

    optimizer = make_optimizer(config.optim, trained)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        after()

    return step, sum(parameter.numel() for parameter in trained)


def config_classes(config: ConfigDict, batch: Mapping) -> int:
    """How many outputs the network has; 0 for a backbone."""
    if config.task.name == "byol":
        return 0
    if "num_classes" in config.model:
        return config.model.num_classes
    return len(config.data.get("classes", ())) or config.data.get("colors", 0) or int(batch["label"].max()) + 1


def make_optimizer(options: ConfigDict, parameters: list) -> Any:
    """torch's form of config.optim; the schedule and the clipping are left out."""
    import torch

    own, decay = options.get(options.name, {}), options.get("weight_decay", 0.0)
    if options.name == "sgd":
        return torch.optim.SGD(
            parameters, options.lr, own.momentum, nesterov=own.nesterov, weight_decay=decay, fused=True
        )
    if options.name == "rmsprop":
        return torch.optim.RMSprop(parameters, options.lr, own.alpha, own.eps, weight_decay=decay, foreach=True)
    makers = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    if options.name not in makers:
        raise UserError(f"the optimiser {options.name!r} has no torch peer here.")
    return makers[options.name](parameters, options.lr, (own.b1, own.b2), own.eps, weight_decay=decay, fused=True)


def byol(network: Any, options: ConfigDict, view1: Any, view2: Any, wrap: Callable) -> tuple[Callable, Callable, list]:
    """(loss(), after(), trained parameters) of BYOL with this backbone."""
    import torch
    from torch import nn

    def head(inputs: int) -> nn.Sequential:
        hidden, features = options.hidden, options.features
        norm = [nn.BatchNorm1d(hidden)] if options.head_norm else []
        return nn.Sequential(nn.Linear(inputs, hidden), *norm, nn.ReLU(), nn.Linear(hidden, features, bias=False))

    online = nn.Sequential(network, head(network(view1[:2]).shape[1]))
    target, predictor = copy.deepcopy(online), head(options.features)
    predict, project = wrap(nn.Sequential(online, predictor)), wrap(target)

    def distance(prediction: torch.Tensor, projection: torch.Tensor) -> torch.Tensor:
        return 2 - 2 * nn.functional.cosine_similarity(prediction, projection)

    def loss() -> torch.Tensor:
        with torch.no_grad():
            target1, target2 = project(view1), project(view2)
        return (distance(predict(view1), target2) + distance(predict(view2), target1)).mean()

    def after() -> None:
        with torch.no_grad():
            torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), 1 - options.tau)

    return loss, after, [*online.parameters(), *predictor.parameters()]


def make_network(options: ConfigDict, classes: int) -> Any:
    """The network of config.model: images (b, c, h, w) to logits, or without classes to features."""
    makers = {"basenet": basenet, "conv_transpose": conv_transpose, "fcn8s": fcn8s, "resnet": resnet}
    if options.name not in makers:
        raise UserError(f"the network {options.name!r} has no torch peer here; those of {', '.join(makers)} have.")
    return makers[options.name](options, classes)


def basenet(options: ConfigDict, classes: int) -> Any:
    """jaxcv/models/basenet.py, for images of 28 x 28 x 1."""
    from torch import nn

    layers, inputs, side = [], 1, 28
    for features in options.channels:
        norm = [nn.BatchNorm2d(features)] if options.batch_norm else []
        layers += [nn.Conv2d(inputs, features, 5), *norm, nn.ReLU(), nn.MaxPool2d(2)]
        inputs, side = features, (side - 4) // 2
    layers.append(nn.Flatten())
    inputs *= side * side
    for features in options.hidden:
        layers += [nn.Linear(inputs, features), nn.ReLU(), nn.Dropout(options.dropout)]
        inputs = features
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


def resnet(options: ConfigDict, classes: int) -> Any:
    """jaxcv/models/resnet.py, of depth 18."""
    from torch import nn

    if options.depth != 18:
        raise UserError(f"only the ResNet of depth 18 has a torch peer here, not {options.depth}.")

    def conv(inputs: int, features: int, kernel: int, stride: int) -> nn.Sequential:
        convolution = nn.Conv2d(inputs, features, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(features))

    class Block(nn.Module):
        def __init__(self, inputs: int, features: int, stride: int):
            super().__init__()
            self.main = nn.Sequential(
                conv(inputs, features, 3, stride), nn.ReLU(inplace=True), conv(features, features, 3, 1)
            )
            self.shortcut = conv(inputs, features, 1, stride) if stride > 1 else nn.Identity()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: Any) -> Any:
            return self.relu(self.main(x) + self.shortcut(x))

    width = options.get("width", 64)
    small = options.get("stem", "imagenet") == "small"
    layers = [conv(3, width, 3, 1), nn.ReLU(inplace=True)]
    if not small:
        layers = [conv(3, width, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = width
    for i in range(4):
        for stride in (2 if i else 1, 1):
            layers.append(Block(inputs, width * 2**i, stride))
            inputs = width * 2**i
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *([nn.Linear(inputs, classes)] if classes else []))


def fcn8s(options: ConfigDict, classes: int) -> Any:
    """jaxcv/models/fcn8s.py, of VGG-11 or -16."""
    import torch
    from torch import nn

    from jaxcv.models.vgg import STAGES

    width = options.width

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            stages, inputs = [], 3
            for i, count in enumerate(STAGES[options.depth]):
                layers: list[nn.Module] = []
                for _ in range(count):
                    layers += [nn.Conv2d(inputs, width * min(2**i, 8), 3, 1, 1), nn.ReLU()]
                    inputs = width * min(2**i, 8)
                stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
            self.stages = nn.ModuleList(stages)
            sizes = [8 * width, *(16 * width // 2**i for i in range(1, 6))]
            self.ups = nn.ModuleList(nn.ConvTranspose2d(a, b, 3, 2, 1, 1) for a, b in itertools.pairwise(sizes))
            self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in sizes[1:])
            self.classifier = nn.Conv2d(sizes[-1], classes, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            pools = []
            for stage in self.stages:
                x = stage(x)
                pools.append(x)
            skips = {0: pools[3], 1: pools[2]} if options.skips else {}
            for i, (up, norm) in enumerate(zip(self.ups, self.norms)):
                x = nn.functional.relu(up(x))
                x = norm(x + skips[i] if i in skips else x)
            return self.classifier(x)

    return Network()


def conv_transpose(options: ConfigDict, classes: int) -> Any:
    """jaxcv/models/conv_transpose.py, of grey images."""
    import torch
    from torch import nn

    kernel, width, skips = options.kernel, options.width, options.skips
    padding, extra = (kernel - 1) // 2, kernel % 2

    def finish(layer: nn.Module, features: int) -> nn.Sequential:
        return nn.Sequential(layer, nn.BatchNorm2d(features), nn.ReLU())

    def down(inputs: int, features: int) -> nn.Sequential:
        return finish(nn.Conv2d(inputs, features, kernel, 2, padding), features)

    def up(inputs: int, features: int) -> nn.Sequential:
        return finish(nn.ConvTranspose2d(inputs, features, kernel, 2, padding, extra), features)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down1, self.down2, self.up1 = down(1, width), down(width, 2 * width), up(2 * width, width)
            self.up2 = up(2 * width if skips else width, classes)
            self.last = nn.Conv2d(classes + 1 if skips else classes, classes, kernel, padding="same")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x1 = self.down1(x)
            x3 = self.up1(self.down2(x1))
            x4 = self.up2(torch.cat((x1, x3), 1) if skips else x3)
            return self.last(torch.cat((x, x4), 1) if skips else x4)

    return Network()
