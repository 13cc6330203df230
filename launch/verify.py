"""Whether a run can be trusted: its files are whole, and this machine computes what it logged, bit for bit.

python launch/verify.py --workdir=runs/NAME [--steps=5]
"""

from pathlib import Path

from absl import flags

from jaxcv.errors import UserError
from jaxcv.tools import command

WORKDIR = flags.DEFINE_string("workdir", "", "folder of a run; nothing is written there")
STEPS = flags.DEFINE_integer(
    "steps", 5, "steps to rerun from the first, a middle and the last checkpoint", lower_bound=1
)


def main() -> None:
    if not WORKDIR.value:
        raise UserError("say --workdir=DIR, the folder of the run to verify.")
    from jaxcv.report.tables import to_markdown
    from jaxcv.tools.verify import verify

    report = verify(Path(WORKDIR.value), count=STEPS.value)
    print("Made with", ", ".join(f"{name} {value}" for name, value in report.then.items()))
    print("Now", "; ".join(report.changed) or "the same")
    print(to_markdown(report.rows), end="")
    if report.problems:
        raise UserError(f"{WORKDIR.value} is not as it was: {'; '.join(report.problems)}.")


if __name__ == "__main__":
    command.run(main)
