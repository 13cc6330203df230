"""What a run's network says of a folder of images, from the run's workdir alone.

python launch/predict.py --workdir=runs/NAME --images=DIR [--out=FILE.csv|FILE.json]     a classifier's probabilities
python launch/predict.py --workdir=runs/NAME --images=DIR --out=DIR                      a segmenter's masks

Masks are PNGs of labels with the palette of the run's data, NAME.png, and NAME_overlay.png is the image under them;
both in the image's own size. The run's config.eval.tile says how large images are seen, unless --tile does.
"""

import csv
import io
from pathlib import Path
from typing import Any

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

    trained = load_run(Path(WORKDIR.value))
    task = trained.config.task.name
    if task not in WRITERS:
        raise UserError(f"the run in {WORKDIR.value} predicts nothing: its task is {task}, not {', '.join(WRITERS)}.")
    WRITERS[task](trained, Path(IMAGES.value), OUT.value)


def write_rows(trained: Any, images: Path, out: str) -> None:
    """A table of class probabilities."""
    if out and Path(out).suffix not in (".csv", ".json"):
        raise UserError(f"--out={out} must end in .csv or .json.")
    from jaxcv.store.log import write_atomic, write_json
    from jaxcv.tools.predict import class_rows

    rows = list(class_rows(trained, images, batch_size=BATCH_SIZE.value))
    if out.endswith(".json"):
        write_json(out, rows)
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        if out:
            write_atomic(out, text.getvalue().encode())
        else:
            print(text.getvalue(), end="")
    if out:
        print(f"{out}: {len(rows)} images")


def write_masks(trained: Any, images: Path, out: str) -> None:
    """A mask and an overlay for each image."""
    if not out or Path(out).suffix:
        raise UserError("say --out=DIR, a folder for the masks.")
    from jaxcv.report.masks import save_prediction
    from jaxcv.tools.predict import masks

    count = 0
    for file, image, mask in masks(trained, images, tile=TILE.value):
        save_prediction(Path(out) / file.relative_to(images).with_suffix(""), image, mask, trained.info.palette)
        count += 1
    print(f"{out}: masks of {count} images")


WRITERS = {"classify": write_rows, "segment": write_masks, "colorize": write_masks}

if __name__ == "__main__":
    command.run(main)
