"""Saves a picture of what the network will get: images of the training split, each augmented several times.

jaxcv preview --config=NAME[:VARIANT,...] [--out=preview.png] [--rows=6]

The first row shows the images, the others what the first steps make of them; masks are below their images.
"""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial

try:
    from jaxcv.tools import command, flags
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is not installed; run `pip install -e .` in the checkout first.")


def add_flags(parser: ArgumentParser) -> None:
    flags.config(parser)
    flags.text(parser, "--out", "FILE", "file to write", default="preview.png")
    flags.integer(parser, "--rows", 6, "augmented versions of each image", at_least=1)
    flags.integer(parser, "--count", 8, "images", at_least=1)


def preview(args: Namespace) -> None:
    config = command.load_config(args)
    from jaxcv.experiment import build
    from jaxcv.report.figures import image_rows
    from jaxcv.run.begin import pictures

    experiment = build(config)
    with experiment.data.open_batches(start=0) as batches:
        batch = {name: value[: args.count] for name, value in next(batches).items()}
    image_rows(pictures(experiment, batch, steps=args.rows), args.out, count=args.count)
    print(f"{args.out}: {args.count} training images and {args.rows} augmented versions of each")


main = partial(command.run, preview, doc=__doc__, add_flags=add_flags)

if __name__ == "__main__":
    sys.exit(main())
