"""A picture of what the network will see: images of the training split, each augmented several times.

python launch/preview.py --config=configs/byol.py[:VARIANT,...] [--out=preview.png] [--rows=6]

The first row shows the images, the others what the steps 0, 1, 2, ... draw for them.
"""

from typing import Any

from absl import flags

from jaxcv import command

OUT = flags.DEFINE_string("out", "preview.png", "file to write")
ROWS = flags.DEFINE_integer("rows", 6, "draws of each image", lower_bound=1)
COUNT = flags.DEFINE_integer("count", 8, "images", lower_bound=1)


def main() -> None:
    from jaxcv.report.figures import image_rows

    image_rows(draws(command.config()), OUT.value, count=COUNT.value)
    print(f"{OUT.value}: {COUNT.value} training images and {ROWS.value} draws of each")


def draws(config: Any) -> dict:
    """Rows of images, float in [0, 1], by their titles."""
    from jaxcv.experiment import augmented, build, open_batches

    experiment = build(config)
    with open_batches(experiment, config, start=0) as batches:
        batch = {name: value[: COUNT.value] for name, value in next(batches).items()}
    rows = {"original": batch["image"]}
    for step in range(ROWS.value):
        rows |= {f"{name} {step}": x for name, x in augmented(experiment, config.seed, step, batch).items()}
    return rows


if __name__ == "__main__":
    command.define_config()
    command.run(main)
