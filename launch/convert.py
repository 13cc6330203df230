"""Moves weights between torch's files and runs.

python launch/convert.py --weights=FILE --config=configs/NAME.py[:VARIANT,...] --workdir=DIR [--allow-missing='fc.*']
    makes DIR a run of that config at step 0 whose network has the weights of FILE (.safetensors, .pth, or another run's
    workdir); launch/main.py goes on from there.  --dry-run only prints what fits.
python launch/convert.py --workdir=DIR --export=FILE.safetensors
    writes the network of a run (of BYOL: the online encoder) under torch's names; torchvision takes it strict=True.
"""

from pathlib import Path
from typing import Any

from absl import flags

from jaxcv.errors import UserError
from jaxcv.tools import command

WEIGHTS = flags.DEFINE_string("weights", "", "file or workdir to take weights from")
EXPORT = flags.DEFINE_string("export", "", ".safetensors file to write")
WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run")
ALLOW = flags.DEFINE_string("allow-missing", "", "patterns of tensors that may be missing or unused, 'fc.*,...'")
DRY_RUN = flags.DEFINE_bool("dry-run", False, "print the table and write nothing")


def main() -> None:
    if bool(WEIGHTS.value) == bool(EXPORT.value):
        raise UserError("say one of --weights=FILE (into a run) and --export=FILE.safetensors (out of one).")
    if not WORKDIR.value and not DRY_RUN.value:
        raise UserError("say --workdir=DIR, the folder of the run.")
    if EXPORT.value:
        export(Path(WORKDIR.value), Path(EXPORT.value))
    else:
        take(command.config(), WEIGHTS.value)


def export(workdir: Path, file: Path) -> None:
    from jaxcv.run.pretrained import read_weights
    from jaxcv.store.weights import write

    state_dict = read_weights(workdir)
    write(file, state_dict)
    print(f"{file}: {len(state_dict)} tensors, {sum(x.size for x in state_dict.values()):,} values")


def take(config: Any, source: str) -> None:
    from jaxcv.experiment import build
    from jaxcv.models.weights import check_rows
    from jaxcv.report.tables import closing_table
    from jaxcv.run import train
    from jaxcv.run.pretrained import fit_weights

    experiment = build(config)
    weights, rows = fit_weights(experiment, source, list(filter(None, ALLOW.value.split(","))))
    columns = ("in the file", "in the model", "")
    table = {row.name: dict(zip(columns, (shape(row.given), shape(row.wanted), row.outcome))) for row in sorted(rows)}
    closing_table(source, table)
    remedy = " What may be missing or unused is named by --allow-missing='fc.*,...'."
    check_rows(rows, source=f"The weights in {source}", remedy=remedy)
    if not DRY_RUN.value:
        train.start(config, Path(WORKDIR.value), experiment, weights)
        print(f"{WORKDIR.value} is at step 0 with these weights.")


def shape(sizes: tuple[int, ...] | None) -> str:
    return "-" if sizes is None else " x ".join(map(str, sizes)) or "1"


if __name__ == "__main__":
    command.define_config()
    command.run(main)
