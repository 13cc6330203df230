"""Converts weights between torch's files and runs.

jaxcv convert --weights=FILE --config=NAME[:VARIANT,...] --workdir=DIR [--allow_missing='fc.*']
    starts a run of the config in DIR, at step 0, with the weights of FILE (.safetensors, .pth, or a run's workdir);
    jaxcv train resumes it. --dry_run only prints what fits.
jaxcv convert --workdir=DIR --export=FILE.safetensors
    writes the network of a run (of BYOL: the online encoder) under torch's names; torchvision loads it strict=True.
"""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

try:
    from ml_collections import ConfigDict

    from jaxcv.errors import UserError
    from jaxcv.tools import command, flags
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is not installed; run `pip install -e .` in the checkout first.")


def add_flags(parser: ArgumentParser) -> None:
    flags.config(parser)
    flags.text(parser, "--weights", "PATH", "file, or workdir of a run, to read weights from")
    flags.text(parser, "--export", "FILE", ".safetensors file to write")
    flags.text(parser, "--workdir", "DIR", "folder of the run")
    flags.text(parser, "--allow_missing", "PATTERNS", "tensors that may be missing or unused, 'fc.*,...'")
    flags.switch(parser, "--dry_run", "print the table and write nothing")


def convert(args: Namespace) -> None:
    if bool(args.weights) == bool(args.export):
        raise UserError("give one of --weights=FILE (into a run) and --export=FILE.safetensors (out of one).")
    if not args.workdir and (args.export or not args.dry_run):
        raise UserError("give --workdir=DIR, the folder of the run.")
    if args.export:
        export(Path(args.workdir), Path(args.export))
    else:
        start(command.load_config(args), args)


def export(workdir: Path, file: Path) -> None:
    from jaxcv.run.pretrained import read_weights
    from jaxcv.store.weights import write

    state_dict = read_weights(workdir)
    write(file, state_dict)
    print(f"{file}: {len(state_dict)} tensors, {sum(x.size for x in state_dict.values()):,} values")


def start(config: ConfigDict, args: Namespace) -> None:
    from jaxcv.experiment import build
    from jaxcv.models.weights import check_rows
    from jaxcv.report.tables import closing_table
    from jaxcv.run import train
    from jaxcv.run.pretrained import fit_weights

    source, experiment = args.weights, build(config)
    weights, rows = fit_weights(experiment, source, list(filter(None, args.allow_missing.split(","))))
    columns = ("in the file", "in the model", "")
    cells = {row.name: (shape(row.file_shape), shape(row.model_shape), row.outcome) for row in sorted(rows)}
    table = {name: dict(zip(columns, values)) for name, values in cells.items()}
    closing_table(source, table)
    remedy = " What may be missing or unused is named by --allow_missing='fc.*,...'."
    check_rows(rows, source=f"The weights in {source}", remedy=remedy)
    if not args.dry_run:
        train.start(config, Path(args.workdir), experiment, weights)
        print(f"{args.workdir} is at step 0 with these weights.")


def shape(sizes: tuple[int, ...] | None) -> str:
    return "-" if sizes is None else " x ".join(map(str, sizes)) or "1"


main = partial(command.run, convert, doc=__doc__, add_flags=add_flags)

if __name__ == "__main__":
    sys.exit(main())
