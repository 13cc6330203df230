"""Class probabilities of a folder of images, from a run's workdir alone.

python launch/predict.py --workdir=runs/NAME --images=DIR [--out=FILE.csv|FILE.json]
"""

import csv
import io
from pathlib import Path

from absl import flags

from jaxcv import command
from jaxcv.errors import UserError

WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run")
IMAGES = flags.DEFINE_string("images", "", "folder of images, or of folders of them")
OUT = flags.DEFINE_string("out", "", "file to write, .csv or .json; empty: CSV to the terminal")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "images at a time", lower_bound=1)


def main() -> None:
    if not WORKDIR.value or not IMAGES.value:
        raise UserError("say --workdir=DIR, the folder of a run, and --images=DIR, the images to predict.")
    if OUT.value and Path(OUT.value).suffix not in (".csv", ".json"):
        raise UserError(f"--out={OUT.value} must end in .csv or .json.")
    from jaxcv.predict import class_rows
    from jaxcv.report.log import write_atomic, write_json

    rows = list(class_rows(Path(WORKDIR.value), Path(IMAGES.value), batch_size=BATCH_SIZE.value))
    if OUT.value.endswith(".json"):
        write_json(OUT.value, rows)
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        if OUT.value:
            write_atomic(OUT.value, text.getvalue().encode())
        else:
            print(text.getvalue(), end="")
    if OUT.value:
        print(f"{OUT.value}: {len(rows)} images")


if __name__ == "__main__":
    command.run(main)
