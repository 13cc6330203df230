"""Prints the cost of a config's network: layers, parameters, FLOPs, memory; reads no data and compiles nothing.

jaxcv summary --config=NAME[:VARIANT,...] [--image=HxWxC] [--classes=N] [--connections]
jaxcv summary --config=networks:NETWORK ...

FLOPs are those of the forward pass of one image in layers with a kernel; a multiply-add counts as two. Memory is that
of the config's batch on one device; activations are the outputs of all layers. --image is by default the shape that the
config's data and augmentation give. --classes is needed if only the data have the number of classes. --connections
prints outputs, weights and connections as in the size table of a colourisation network.
"""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from typing import Any

try:
    from ml_collections import ConfigDict

    from jaxcv.errors import ConfigError
    from jaxcv.tools import command, flags
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is not installed; run `pip install -e .` in the checkout first.")


def add_flags(parser: ArgumentParser) -> None:
    flags.config(parser)
    flags.text(parser, "--image", "HxWxC", "shape of an image, such as 224x224x3")
    flags.integer(parser, "--classes", 0, "number of classes; 0: that of the data", at_least=0)
    flags.switch(parser, "--connections", "print outputs, weights and connections")


def summarize(args: Namespace) -> None:
    config = command.load_config(args)
    image = parse(args.image) if args.image else None
    from jaxcv.experiment import make_tx
    from jaxcv.report.tables import closing_table, markdown
    from jaxcv.tools import summary

    model, shape = network(config, image, args.classes)
    rows, _ = summary.trace(model, (1, *shape), train=False)
    if args.connections:
        table = summary.size_table(rows)
        total = ("total", "", *(sum(getattr(row, name) for row in table) for name in table[0]._fields[2:]))
        print(markdown(table[0]._fields, [*table, total]))
        return
    print(markdown(["layer", "kind", "output", "dtype", "parameters", "MFLOPs", "MiB"], [cells(row) for row in rows]))
    batch = config.train.batch_size
    trained, variables = summary.trace(model, (batch, *shape), train=True)
    memory = summary.memory(trained, variables, make_tx(config.optim, lambda step: 0.0))
    closing_table(
        f"{config.model.name} on {' x '.join(map(str, shape))}",
        {
            "parameters": f"{summary.size(variables['params']):,}",
            "FLOPs of one image, forward": f"{sum(map(summary.flops, rows)) / 1e9:.4g} G",
            **{f"{name}, batch {batch}": f"{size / 2**20:.1f} MiB" for name, size in memory.items()},
            f"all, batch {batch}": f"{sum(memory.values()) / 2**20:.1f} MiB",
        },
    )


def network(config: ConfigDict, image: tuple[int, ...] | None, classes: int) -> tuple[Any, tuple[int, ...]]:
    """The network, and the shape of the images that it is trained on: `image`, unless that is None."""
    from jaxcv.experiment import build_task, image_shape, make_model, outline

    if "task" not in config:
        fields = {"num_classes": classes} if classes else {}
        return make_model(config.model, **fields), image or config.image
    info = outline(config, classes=classes)
    if info is None:
        raise ConfigError(
            f"the data set {config.data.name!r} has no `outline`, which would give the shape of its images; "
            "summarise the network with --config=networks:NAME."
        )
    task = build_task(config, info, total_steps=1)
    if not info.classes and getattr(task.model, "num_classes", None) is not None:
        print("Only the data have the number of classes; this is the network's default. Set it with --classes=N.")
    return task.model, image or image_shape(task, info)


def cells(row: Any) -> list[str]:
    from jaxcv.tools.summary import flops, nbytes, size

    output = " x ".join(map(str, row.output.shape[1:]))
    numbers = f"{size(row.params):,}", f"{flops(row) / 1e6:.3f}", f"{nbytes(row.output) / 2**20:.3f}"
    return [row.path, row.kind, output, str(row.output.dtype), *numbers]


def parse(text: str) -> tuple[int, ...]:
    sizes = text.lower().split("x")
    if len(sizes) != 3 or not all(size.isdigit() and int(size) for size in sizes):
        raise ConfigError(f"--image={text} must be height x width x channels, such as 224x224x3.")
    return tuple(map(int, sizes))


main = partial(command.run, summarize, doc=__doc__, add_flags=add_flags)

if __name__ == "__main__":
    sys.exit(main())
