"""What a run's network says of a folder of images, from the run's workdir alone.

python launch/predict.py --workdir=runs/NAME --images=DIR [--out=FILE.csv|FILE.json]     a classifier's probabilities
python launch/predict.py --workdir=runs/NAME --images=DIR [--out=FILE.csv|FILE.json]     BYOL's features
python launch/predict.py --workdir=runs/NAME --images=DIR --out=DIR                      a segmenter's masks

Masks are PNGs of labels with the palette of the run's data, NAME.png, and NAME_overlay.png is the image under them;
both in the image's own size. The run's config.eval.tile says how large images are seen, unless --tile does.
"""

from pathlib import Path

from absl import flags

from jaxcv.errors import UserError
from jaxcv.tools import command

WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run")
IMAGES = flags.DEFINE_string("images", "", "folder of images, or of folders of them")
OUT = flags.DEFINE_string("out", "", "file, .csv or .json, or folder to write; empty: CSV to the terminal")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "images at a time, of a classifier", lower_bound=1)
TILE = flags.DEFINE_integer("tile", None, "px, side of the windows that a segmenter sees; 0: the whole image")


def main() -> None:
    if not WORKDIR.value or not IMAGES.value:
        raise UserError("say --workdir=DIR, the folder of a run, and --images=DIR, the images to predict.")
    from jaxcv.tools.predict import load_run

    trained = load_run(WORKDIR.value)
    if trained.write is None:
        raise UserError(f"the run in {WORKDIR.value} predicts nothing: its task has no `write`.")
    trained.write(trained, Path(IMAGES.value), OUT.value, batch_size=BATCH_SIZE.value, tile=TILE.value)


if __name__ == "__main__":
    command.run(main)
