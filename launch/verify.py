"""Whether a run can be trusted: its files are whole, and this machine computes what it logged, bit for bit.

jaxcv verify --workdir=runs/NAME [--steps=5]
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from jaxcv.errors import UserError
from jaxcv.tools import command, flags


def add_flags(parser: ArgumentParser) -> None:
    flags.text(parser, "--workdir", "DIR", "folder of a run; nothing is written there")
    flags.integer(parser, "--steps", 5, "steps to rerun from the first, a middle and the last checkpoint", at_least=1)


def rerun(args: Namespace) -> None:
    if not args.workdir:
        raise UserError("say --workdir=DIR, the folder of the run to verify.")
    from jaxcv.report.tables import to_markdown
    from jaxcv.tools.verify import verify

    report = verify(Path(args.workdir), count=args.steps)
    print("Made with", ", ".join(f"{name} {value}" for name, value in report.then.items()))
    print("Now", "; ".join(report.changed) or "the same")
    print(to_markdown(report.rows), end="")
    if report.problems:
        raise UserError(f"{args.workdir} is not as it was: {'; '.join(report.problems)}.")


def main(arguments: Sequence[str] | None = None) -> int:
    return command.run(rerun, arguments, doc=__doc__, add_flags=add_flags)


if __name__ == "__main__":
    sys.exit(main())
