"""What a config's network costs: layers, parameters, FLOPs, memory; no data is read, nothing is compiled.

python launch/summary.py --config=configs/byol.py[:VARIANT,...] [--image=HxWxC] [--classes=N] [--connections]
python launch/summary.py --config=configs/networks.py:NETWORK ...

FLOPs are those of one image's forward pass in layers with a kernel, a multiply-add counted as two. Memory is that of
the config's batch on one device; activations are the outputs of all layers. --image is what the network sees, by
default what the config's data and augmentation give; --classes is needed where only the data know their number.
--connections prints outputs, weights and connections as in a colourisation network's size table.
"""

from typing import Any

from absl import flags

from jaxcv.errors import ConfigError
from jaxcv.tools import command

IMAGE = flags.DEFINE_string("image", "", "the image's height x width x channels, such as 224x224x3")
CLASSES = flags.DEFINE_integer("classes", 0, "number of classes; 0: what the data say", lower_bound=0)
CONNECTIONS = flags.DEFINE_bool("connections", False, "print outputs, weights and connections")


def main() -> None:
    from jaxcv.experiment import make_tx
    from jaxcv.report.tables import closing_table, markdown
    from jaxcv.tools import summary

    config = command.config()
    model, shape = network(config)
    rows, _ = summary.trace(model, (1, *shape), train=False)
    if CONNECTIONS.value:
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


def network(config: Any) -> tuple:
    """The network and the shape of the images that it is trained on."""
    from jaxcv.experiment import build_task, image_shape, make_model, outline

    if "task" not in config:
        fields = {"num_classes": CLASSES.value} if CLASSES.value else {}
        return make_model(config.model, **fields), parse(IMAGE.value) if IMAGE.value else config.image
    info = outline(config, classes=CLASSES.value)
    if info is None:
        raise ConfigError(
            f"the data set {config.data.name!r} has no outline, so its images are not known without it; "
            "summarise the network with --config=networks:NAME."
        )
    task = build_task(config, info, total_steps=1)
    if not info.classes and getattr(task.model, "num_classes", None) is not None:
        print("The number of classes takes the data to know; here it is the network's own. Say it with --classes=N.")
    return task.model, parse(IMAGE.value) if IMAGE.value else image_shape(task, info)


def cells(row: Any) -> list:
    from jaxcv.tools.summary import flops, nbytes, size

    output = " x ".join(map(str, row.output.shape[1:]))
    numbers = f"{size(row.params):,}", f"{flops(row) / 1e6:.3f}", f"{nbytes(row.output) / 2**20:.3f}"
    return [row.path, row.kind, output, str(row.output.dtype), *numbers]


def parse(text: str) -> tuple[int, ...]:
    sizes = text.lower().split("x")
    if len(sizes) != 3 or not all(size.isdigit() and int(size) for size in sizes):
        raise ConfigError(f"--image={text} must be height x width x channels, such as 224x224x3.")
    return tuple(map(int, sizes))


if __name__ == "__main__":
    command.define_config()
    command.run(main)
