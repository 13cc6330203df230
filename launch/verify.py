"""Checks a run: that its files are undamaged, and that this machine computes the same bits as it logged.

jaxcv verify --workdir=runs/NAME [--steps=5]
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
    flags.text(parser, "--workdir", "DIR", "folder of a run; nothing is written there")
    flags.integer(parser, "--steps", 5, "steps to rerun from the first, a middle and the last checkpoint", at_least=1)


def rerun(args: Namespace) -> None:
    if not args.workdir:
        raise UserError("give --workdir=DIR, the folder of the run to verify.")
    from jaxcv.report.tables import to_markdown
    from jaxcv.tools.verify import verify

    report = verify(Path(args.workdir), count=args.steps)
    print("Made with", ", ".join(f"{name} {value}" for name, value in report.made_with.items()))
    print("Now", "; ".join(report.changes) or "the same")
    print(to_markdown(report.rows), end="")
    if report.problems:
        raise UserError(f"{args.workdir} has changed: {'; '.join(report.problems)}.")


main = partial(command.run, rerun, doc=__doc__, add_flags=add_flags)

if __name__ == "__main__":
    sys.exit(main())
