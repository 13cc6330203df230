"""What is in the data of a config: images, classes and colours of each split, and what may be wrong. Trains nothing.

jaxcv inspect --config=NAME[:VARIANT,...]
"""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial

try:
    from jaxcv.tools import command, flags
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is not installed; run `pip install -e .` in the checkout first.")


def add_flags(parser: ArgumentParser) -> None:
    flags.config(parser)


def inspect(args: Namespace) -> None:
    config = command.load_config(args)
    from jaxcv.experiment import build
    from jaxcv.run.begin import data_report, lines

    experiment = build(config)
    for line in (*experiment.notes, *lines(data_report(experiment))):
        print(line)


main = partial(command.run, inspect, doc=__doc__, add_flags=add_flags)

if __name__ == "__main__":
    sys.exit(main())
