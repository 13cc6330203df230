"""A picture of what the network will see: images of the training split, each augmented several times.

python launch/preview.py --config=configs/byol.py[:VARIANT,...] [--out=preview.png] [--rows=6]

The first row shows the images, the others what the first steps draw for them; masks stand below their images.
"""

from absl import flags

from jaxcv.tools import command

OUT = flags.DEFINE_string("out", "preview.png", "file to write")
ROWS = flags.DEFINE_integer("rows", 6, "draws of each image", lower_bound=1)
COUNT = flags.DEFINE_integer("count", 8, "images", lower_bound=1)


def main() -> None:
    from jaxcv.experiment import build
    from jaxcv.report.figures import image_rows
    from jaxcv.run.begin import pictures

    config = command.config()
    experiment = build(config)
    with experiment.data.open_batches(start=0) as batches:
        batch = {name: value[: COUNT.value] for name, value in next(batches).items()}
    image_rows(pictures(experiment, batch, draws=ROWS.value), OUT.value, count=COUNT.value)
    print(f"{OUT.value}: {COUNT.value} training images and {ROWS.value} draws of each")


if __name__ == "__main__":
    command.define_config()
    command.run(main)
