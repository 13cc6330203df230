"""Make goldens/checkpoint-VERSION: a state as this version saves it, which every later one must read.

cd tests; python -m goldens.make_checkpoint
"""

from importlib.metadata import version
from pathlib import Path

from test_checkpoint import saved


def main() -> None:
    folder = Path(__file__).parent / f"checkpoint-{version('jaxcv')}"
    saved(folder, {7: 0.5})
    for file in folder.rglob("commit_success.txt"):  # nobody reads them, and they name this machine's folders
        file.unlink()


if __name__ == "__main__":
    main()
