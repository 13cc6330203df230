"""Predicts a folder of images with the network of a run, from the run's workdir alone.

jaxcv predict --workdir=runs/NAME --images=DIR [--out=FILE.csv|FILE.json]     a classifier's probabilities
jaxcv predict --workdir=runs/NAME --images=DIR --labels=FILE.csv|DIR ...      and its accuracy
jaxcv predict --workdir=runs/NAME --images=DIR [--out=FILE.csv|FILE.json]     BYOL's features
jaxcv predict --workdir=runs/NAME --images=DIR --out=DIR                      a segmenter's masks

All images in and below DIR are predicted, whatever their names. The labels are a CSV with the columns filename and
label, or a folder of class folders, which may be DIR itself; the accuracy with its 95 % Wilson interval is printed, and
written to FILE_score.json. A mask is NAME.png, labels with the palette of the run's data, and NAME_overlay.png, the
image with the mask over it; both have the size of the image. --tile is by default the run's config.eval.tile.
"""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

try:
    from jaxcv.errors import UserError
    from jaxcv.tools import command, flags
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is not installed; run `pip install -e .` in the checkout first.")


def add_flags(parser: ArgumentParser) -> None:
    flags.text(parser, "--workdir", "DIR", "folder of the run")
    flags.text(parser, "--images", "DIR", "folder of images, or of folders of them")
    flags.text(parser, "--out", "PATH", "file, .csv or .json, or folder to write; by default CSV to the terminal")
    flags.text(parser, "--labels", "PATH", "CSV (filename,label) or folder of class folders: score a classifier")
    flags.integer(parser, "--batch_size", 64, "images in a batch, of a classifier", at_least=1)
    flags.integer(
        parser, "--tile", None, "px, side of the windows that a segmenter gets; 0: the whole image", at_least=0
    )


def predict(args: Namespace) -> None:
    if not args.workdir or not args.images:
        raise UserError("give --workdir=DIR, the folder of a run, and --images=DIR, the images to predict.")
    from jaxcv.tools.predict import load_run

    trained = load_run(args.workdir)
    if trained.write is None:
        raise UserError(f"the run in {args.workdir} cannot write predictions: its task has no `write`.")
    trained.write(trained, Path(args.images), args.out, labels=args.labels, batch_size=args.batch_size, tile=args.tile)


main = partial(command.run, predict, doc=__doc__, add_flags=add_flags)

if __name__ == "__main__":
    sys.exit(main())
