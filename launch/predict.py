"""What a run's network says of a folder of images, from the run's workdir alone.

jaxcv predict --workdir=runs/NAME --images=DIR [--out=FILE.csv|FILE.json]     a classifier's probabilities
jaxcv predict --workdir=runs/NAME --images=DIR [--out=FILE.csv|FILE.json]     BYOL's features
jaxcv predict --workdir=runs/NAME --images=DIR --out=DIR                      a segmenter's masks

Masks are PNGs of labels with the palette of the run's data, NAME.png, and NAME_overlay.png is the image under them;
both in the image's own size. The run's config.eval.tile says how large images are seen, unless --tile does.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from jaxcv.errors import UserError
from jaxcv.tools import command, flags


def add_flags(parser: ArgumentParser) -> None:
    flags.text(parser, "--workdir", "DIR", "folder of the run")
    flags.text(parser, "--images", "DIR", "folder of images, or of folders of them")
    flags.text(parser, "--out", "PATH", "file, .csv or .json, or folder to write; without it CSV to the terminal")
    flags.integer(parser, "--batch_size", 64, "images at a time, of a classifier", at_least=1)
    flags.integer(
        parser, "--tile", None, "px, side of the windows that a segmenter sees; 0: the whole image", at_least=0
    )


def predict(args: Namespace) -> None:
    if not args.workdir or not args.images:
        raise UserError("say --workdir=DIR, the folder of a run, and --images=DIR, the images to predict.")
    from jaxcv.tools.predict import load_run

    trained = load_run(args.workdir)
    if trained.write is None:
        raise UserError(f"the run in {args.workdir} predicts nothing: its task has no `write`.")
    trained.write(trained, Path(args.images), args.out, batch_size=args.batch_size, tile=args.tile)


def main(arguments: Sequence[str] | None = None) -> int:
    return command.run(predict, arguments, doc=__doc__, add_flags=add_flags)


if __name__ == "__main__":
    sys.exit(main())
