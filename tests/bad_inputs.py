"""Gives the commands odd settings and odd files, one at a time, and prints what each says: a table of two columns.

python tests/bad_inputs.py [--only=WORD] [--write]

A row is right if the command ends in exit code 1 and one line on stderr, without a traceback, and leaves no workdir,
or if what is odd can be used and the command says so; the exit code is 1 if a row is not. --write puts the table into
docs/reliability.md.
"""

import argparse
import gzip
import itertools
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

import data_files
import runs

FASHION = ["main", "--config=fashion_mnist:tiny"]
BYOL = ["main", "--config=byol:tiny"]
HORSES = ["main", "--config=colorize:tiny"]
ANTS = ["main", "--config=binary:tiny"]
CAMVID = ["main", "--config=camvid:tiny"]
TILES = ["main", "--config=landcover:dubai,small,tiny"]
COCO = ["main", "--config=coco:tiny"]
DOCUMENT = runs.ROOT / "docs" / "reliability.md"
MARK = "## What odd input is answered\n"  # the heading of the tables, the last of the document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose title has this word")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    args = parser.parse_args()
    os.chdir(runs.ROOT)
    os.environ.pop("JAXCV_DATA", None)
    tables, bad = [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for kind, rows in (("Settings", settings(root)), ("Files", files(root))):
            tables.append(f"| {kind} | What is printed |\n|---|---|")
            print(tables[-1])
            for title, command in rows:
                if args.only in title:
                    said, good = answer(command, root)
                    tables[-1] += f"\n{line(title, said)}"
                    bad += [] if good else [title]
                    print(line(title, said) if good else f"NOT RIGHT: {line(title, said)}", flush=True)
    print(f"\n{sum(table.count(chr(10)) - 1 for table in tables)} rows, not right: {bad or 'none'}")
    if args.write:
        before = DOCUMENT.read_text().partition(MARK)[0]
        how = (
            "`python tests/bad_inputs.py --write` makes these tables; DIR is the folder of the data or of the run, HERE"
        )
        how += " that of the command."
        DOCUMENT.write_text(f"{before}{MARK}\n{how}\n\n" + "\n\n".join(tables) + "\n")
    raise SystemExit(bool(bad))


def line(title: str, said: str) -> str:
    """A row of the table."""
    return f"| {title} | {said} |".replace("*", "\\*")


def answer(command: list[str], root: Path) -> tuple[str, bool]:
    """What a command says, and whether that is right: an error in one line, or of `inspect` notes and no error."""
    script, *flags = command
    workdir = root / "runs/refused"
    shutil.rmtree(workdir.parent, ignore_errors=True)
    if script in ("main", "sweep") and not any(flag.startswith("--workdir") for flag in flags):
        flags = [*flags, f"--workdir={workdir}"]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = import_module(f"jaxcv.launch.{script}").main(flags)
            except Exception as error:
                code = f"{type(error).__name__}: {error}"
        out.seek(0), err.seek(0)
        said, lines = out.read().splitlines(), err.read().strip().splitlines()
    if script == "inspect_" and code == 0 and not lines:
        lines = [text for text in said if not re.match("(train|val|test): ", text)]
        good = bool(lines)
    else:
        good = code == 1 and len(lines) == 1 and lines[0].startswith("error: ") and not workdir.parent.exists()
        lines = lines or [str(code)]
    text = "<br>".join(lines).removeprefix("error: ").replace("|", "\\|").replace("<class", "&lt;class")
    return text.replace(str(root), "DIR").replace(f"{runs.ROOT}/", "").replace(str(runs.ROOT), "HERE"), good


def settings(root: Path) -> Iterator[tuple[str, list[str]]]:
    """(title, command) one by one; what the command reads is there when it is yielded."""
    yield from of_the_command_line()
    yield from of_a_config_file(root)
    yield from of_ranges()
    yield from of_the_config()


def files(root: Path) -> Iterator[tuple[str, list[str]]]:
    """(title, command) as in `settings`."""
    for write in (fashion_mnist, cifar10, image_folder, csv_files, odd_images, mask_folder, odd_masks, coco, flowers17):
        folder = root / write.__name__
        folder.mkdir()
        yield from write(folder)
    yield from of_the_workdir(root / "place")


def of_the_command_line() -> Iterator[tuple[str, list[str]]]:
    yield "no config", ["main"]
    yield "sweep without its data", ["sweep", "--config=fashion_mnist:ablation,tiny"]
    yield "training of a sweep", ["main", "--config=fashion_mnist:ablation"]
    yield "config file that is not there", ["main", "--config=configs/bjol.py"]
    yield "config name that is not there", ["main", "--config=bjol"]
    yield "config name of nothing", ["main", "--config=zzz"]
    yield "config file elsewhere", ["main", "--config=elsewhere/byol.py"]
    yield "no config behind its flag", ["main", "--config"]
    yield "unknown variant of a name", ["main", "--config=byol:tinny"]
    yield "unknown variant", ["main", "--config=configs/byol.py:tinny"]
    yield "a word that is no flag", [*HORSES, "resume"]
    yield "unknown flag", [*HORSES, "--wrokdir=x"]
    yield "unknown key", [*HORSES, "--config.optim.lrr=1"]
    yield "unknown key of a group", [*HORSES, "--config.optim.adam.beta=1"]
    yield "unknown group", [*HORSES, "--config.optimizer.lr=1"]
    yield "key without a value", [*HORSES, "--config.optim.lr"]
    yield "key of a command without a config", ["predict", "--config.optim.lr=1"]
    yield "word for a number", [*HORSES, "--config.optim.lr=fast"]
    yield "fraction for a whole number", [*HORSES, "--config.train.batch_size=1.5"]
    yield "number for a group", [*HORSES, "--config.optim=1"]
    yield "word for a switch", [*HORSES, "--override=maybe"]
    yield "word for the number of a flag", ["bench", *HORSES[1:], "--steps=many"]
    yield "no steps to time", ["bench", *HORSES[1:], "--steps=0"]
    yield "sweep of a config without one", ["sweep", "--config=colorize:tiny"]
    yield "predict without a run", ["predict"]
    yield "convert without a task", ["convert"]
    yield "verify without a run", ["verify", "--workdir=/nowhere"]
    yield "summary of an odd shape", ["summary", "--config=byol:tiny", "--image=32"]
    yield "half of the flags of several processes", [*HORSES, "--num_processes=2"]


def of_a_config_file(root: Path) -> Iterator[tuple[str, list[str]]]:
    for title, text in (
        ("that is no Python", "def get_config(:"),
        ("that fails", "import nothing_of_this_name"),
        ("whose function fails", "def get_config(arg):\n    return 1 / 0"),
        ("without get_config", "config = {}"),
        ("that returns nothing", "def get_config(arg):\n    pass"),
        ("that takes no variant", "from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict()"),
    ):
        (root / "mine.py").write_text(text)
        yield f"config file {title}", ["main", f"--config={root}/mine.py:tiny"]


def of_the_config() -> Iterator[tuple[str, list[str]]]:
    for title, flag in (
        ("unknown optimiser", "optim.name=adamm"),
        ("unknown schedule", "optim.schedule=cosin"),
        ("unknown network", "model.name=conv_transpos"),
        ("unknown data set", "data.name=color_indx"),
        ("unknown task", "task.name=colourize"),
        ("unknown loss", "task.loss=cross"),
        ("unknown dtype", "model.dtype=float33"),
        ("no epochs", "train.total_epochs=0"),
        ("batch of none", "train.batch_size=0"),
        ("negative batch", "train.batch_size=-4"),
        ("batch larger than the data", "train.batch_size=100000"),
        ("batch that cannot be accumulated", "train.accumulate=3"),
        ("warm-up longer than the run", "optim.warmup_epochs=99"),
        ("freeze a name that is not there", "optim.freeze=('layerx.*',)"),
        ("freeze all", "optim.freeze=('*',)"),
        ("unknown metric for the best", "eval.best=val/acuracy"),
        ("negative seed", "seed=-1"),
        ("weights that are not there", "init_from=/nowhere/resnet18.safetensors"),
    ):
        yield title, [*HORSES, f"--config.{flag}"]
    nan = ["--config.optim.lr=1e38", "--config.train.log_every_steps=2"]  # before anything is logged
    yield "learning rate at which the loss is NaN", [*HORSES, *nan]
    yield (
        "unknown augmentation",
        ["main", "--config=byol:tiny", "--config.augment.view1.order=('flipp',)"],
    )
    yield "depth that ResNet does not have", ["main", "--config=byol:tiny", "--config.model.depth=20"]


def of_ranges() -> Iterator[tuple[str, list[str]]]:
    """Values that no part can have: refused before data are read."""
    for flag in (
        "seed=99999999999999999999",
        "train.batch_size=many",
        "train.log_every_steps=0",
        "train.accumulate=-1",
        "train.patience=-1",
        "train.total_epochs=-2",
        "train.total_epochs=nan",
        "train.total_epochs=inf",
        "train.total_epochs=None",
        "train.save_every_epochs=-1",
        "data.limit=-5",
        "data.workers=-1",
        "eval.batch_size=0",
        "eval.every_epochs=-1",
        "eval.examples=0",
        "eval.report=lst",
        "eval.crop=-8",
        "eval.tile=-1",
        "optim.lr=-0.1",
        "optim.lr=nan",
        "optim.lr=inf",
        "optim.lr=0,1",
        "optim.lr_batch_size=-1",
        "optim.clip_norm=-1",
        "optim.ema_decay=1.5",
        "optim.weight_decay=-5",
        "optim.weight_decay=nan",
        "optim.warmup_epochs=-1",
        "optim.lr_multipliers=(('conv*',-1),)",
        "optim.lr_multipliers=('conv*',0.1)",
        "optim.freeze=conv1",
        "optim.adam.b1=1.0",
        "optim.adam.b2=-0.1",
        "optim.adam.eps=0",
        "model.dtype=int8",
        "model.width=0",
        "model.kernel=0",
        "data.colors=1",
        "data.base=cifar100",
        "data.val_split=validation",
        "evals.names=('knm',)",
        "augment.flip.p=0.5",
    ):
        yield f"`{flag}`", ["inspect_", *HORSES[1:], f"--config.{flag}"]
    both = ["--config.train.total_steps=5", "--config.train.total_epochs=1"]
    yield "`train.total_steps=5`, `train.total_epochs=1`", ["inspect_", *HORSES[1:], *both]
    for name, key, value in (
        ("adamw", "eps", -1),
        ("sgd", "momentum", 7),
        ("sgd", "nesterov", "yes"),
        ("rmsprop", "alpha", 2),
        ("lars", "trust_coefficient", 0),
        ("lion", "b1", 5),
        ("adagrad", "eps", "nan"),
    ):
        flags = [f"--config.optim.name={name}", f"--config.optim.{name}.{key}={value}"]
        yield f"`optim.name={name}`, `optim.{name}.{key}={value}`", ["inspect_", *HORSES[1:], *flags]
    for name, key, value in (
        ("step", "gamma", -1),
        ("step", "every_epochs", 0),
        ("multi_step", "milestones_epochs", "(9.0,1.0)"),
        ("poly", "power", -2),
        ("one_cycle", "pct_start", 3),
        ("step", "every_steps", "1.5"),
    ):
        flags = [f"--config.optim.schedule={name}", f"--config.optim.{name}.{key}={value}"]
        yield f"`optim.schedule={name}`, `optim.{name}.{key}={value}`", ["inspect_", *HORSES[1:], *flags]
    for flag in (
        "task.tau=2",
        "task.hidden=0",
        "task.target_init=zero",
        "task.tau_schedule=linear",
        "augment.view1.flip.p=1.5",
        "augment.view1.crop.size=0",
        "augment.view1.crop.method=nearst",
        "augment.view1.solarize.p=nan",
        "evals.knn.k=0",
        "evals.knn.temperature=0",
        "evals.probe.iterations=-1",
        "model.depth=abc",
        "model.stem=tiny",
        "data.size=4",
        "data.size=-1",
        "data.count=-1",
        "data.target=masks",
    ):
        yield f"`{flag}` of BYOL", ["inspect_", *BYOL[1:], f"--config.{flag}"]


def fashion_mnist(root: Path) -> Iterator[tuple[str, list[str]]]:
    command = [*FASHION, f"--config.data.dir={root}", "--config.data.holdout=32"]
    yield "data: no folder named", FASHION
    yield "Fashion-MNIST: no folder", command
    data_files.fashion_mnist(root, train=160, test=40)
    images, labels = (
        root / "fashion_mnist" / f"train-{what}.gz" for what in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    for title, file, content in (
        ("cut", images, images.read_bytes()[:-50]),
        ("not gzip", images, b"<html>404</html>"),
        ("labels for images", images, labels.read_bytes()),
        ("label 10", labels, gzip.compress(data_files.idx(np.full(160, 10, np.uint8)))),
        ("a label too few", labels, gzip.compress(data_files.idx(np.zeros(159, np.uint8)))),
        ("announces more than it holds", labels, gzip.compress(struct.pack(">2I", 0x801, 2**31) + b"abc")),
    ):
        with changed(file, content):
            yield f"Fashion-MNIST: {title}", command
    images.unlink()
    yield "Fashion-MNIST: no file", command


def cifar10(root: Path) -> Iterator[tuple[str, list[str]]]:
    command = ["main", "--config=byol:cifar10,tiny", f"--config.data.dir={root}"]
    data_files.cifar10(root, each=20)
    file = root / "cifar-10-batches-py/data_batch_3"
    for title, content in (
        ("a pickle that runs code", pickle.dumps({b"data": SystemCall()})),
        ("cut", file.read_bytes()[:1000]),
        ("not a batch", pickle.dumps([1, 2])),
        ("label 10", pickle.dumps({b"data": np.zeros((20, 3072), np.uint8), b"labels": [10] * 20}, 2)),
    ):
        with changed(file, content):
            yield f"CIFAR-10: {title}", command


class SystemCall:
    def __reduce__(self):
        return os.system, ("echo executed >&2",)  # a second line on stderr, if it ever ran


def image_folder(root: Path) -> Iterator[tuple[str, list[str]]]:
    command = [*ANTS, f"--config.data.dir={root}", "--config.data.limit=0"]
    folder = root / "hymenoptera_data"
    for split, count in (("train", 20), ("val", 4)):
        data_files.class_folders(folder / split, {"ants": count, "bees": count}, suffix=".jpg")
    file = folder / "train/bees/003.jpg"
    for title, content in (
        ("cut", file.read_bytes()[:300]),
        ("a web page", b"<html>not found</html>"),
        ("empty", b""),
        ("a bomb of 600 million pixels", bomb()),
    ):
        with changed(file, content):
            yield f"image: {title}", command
    (folder / "val/wasps").mkdir()
    yield "class folder without an image", command
    data_files.picture(folder / "val/wasps/0.jpg")
    yield "class that was not trained", command
    command = ["main", "--config=transfer:tiny", f"--config.data.dir={root}"]
    yield "CSV of labels that is not there", [*command, "--config.data.folder=hymenoptera_data"]


def csv_files(root: Path) -> Iterator[tuple[str, list[str]]]:
    """A CSV of labels with one thing wrong."""
    command = [
        "inspect_",
        "--config=own_classes:tiny",
        f"--config.data.dir={root}",
        "--config.data.labels={folder}.csv",
    ]
    for split, count in (("train", 20), ("val", 6)):
        data_files.csv_labels(root / "photos" / split, ["cat", "dog"] * (count // 2))
    file = root / "photos/train.csv"
    header, first, *rest = (row.partition(",")[2] for row in file.read_text().splitlines())  # without the column id
    name = first.split(",")[0]
    for title, lines in (
        ("of other columns", ["file,class", first, *rest]),
        ("without rows", [header]),
        ("empty", []),
        ("a file that is not there", [header, "none.png,cat", *rest]),
        ("an absolute path", [header, "/etc/hosts,cat", *rest]),
        ("a path that leaves the folder", [header, "../val/none.png,cat", *rest]),
        ("a row without a label", [header, f"{name},", *rest]),
        ("two labels for one file", [header, first, f"{name},other", *rest]),
        ("a repeated row", [header, first, first, *rest]),
        ("blanks around labels", [header, f"{name}, cat ", *rest]),
        ("labels that differ by case", [header, f"{name},Dog", *rest]),
        ("two labels in one field", [header, f"{name},cat dog", *rest]),
        ("images that it does not name", [header, *rest]),
        ("a class of one image", [header, f"{name},bird", *rest]),
    ):
        with changed(file, "".join(f"{each}\n" for each in lines).encode()):
            yield f"CSV: {title}", command
    with changed(file, file.read_bytes().replace(b"cat", b"c\xe9t")):
        yield "CSV: not in UTF-8", command
    with changed(root / "photos/val.csv", None):
        yield "CSV: none for the split test", command
    yield "CSV: a group without its column", [*command, "--config.data.group=patient"]
    yield "a separator without a CSV", [*command[:-1], "--config.data.separator=;"]


def odd_images(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Class folders with one odd file or folder, for `inspect`: it is used and told, or refused."""
    command = ["inspect_", "--config=own_classes:tiny", f"--config.data.dir={root}", "--config.data.limit=0"]
    folder = root / "photos"
    for seed, (split, number) in enumerate(itertools.product(("train", "val"), range(12))):
        for name in ("cat", "dog") if split == "train" or number < 4 else ():
            data_files.picture(folder / split / name / f"{number:03d}.jpg", seed=2 * seed + (name == "dog"))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 4), np.uint8)
    for title, name, content in (
        ("hidden", "train/cat/.hidden.jpg", png(pixels[..., :3])),
        ("of another suffix", "train/cat/notes.txt", b"text"),
        ("without a suffix", "train/cat/README", b"text"),
        ("beside the class folders", "train/beside.png", png(pixels[..., :3])),
        ("in a folder of a class folder", "train/cat/2024/more.png", png(pixels[..., :3])),
        ("transparent", "train/cat/clear.png", png(pixels)),
        ("of 16 bits", "train/cat/deep.png", png16(pixels[..., 0])),
        ("a .npy of other channels", "train/cat/array.npy", npy(pixels)),
        ("a .npy of objects", "train/cat/array.npy", npy(np.array([None]))),
        ("an animation", "train/cat/moving.gif", animation(pixels)),
        ("that val has too", "val/cat/again.jpg", (folder / "train/cat/001.jpg").read_bytes()),
    ):
        with changed(folder / name, content):
            yield f"an image {title}", command
    with changed(folder / "train/cat/link.jpg", None):
        (folder / "train/cat/link.jpg").symlink_to("nowhere.jpg")
        yield "an image that is a broken link", command
    (folder / "train/fish").mkdir()
    yield "an empty class folder of the training split", command
    (folder / "train/fish").rmdir()
    for name in ("train/eel/0.jpg", "train/eel/1.jpg"):
        data_files.picture(folder / name, seed=len(name) + ord(name[-5]) * 99)
    yield "a class that a split lacks", command
    shutil.rmtree(folder / "train/dog"), shutil.rmtree(folder / "train/eel"), shutil.rmtree(folder / "val/dog")
    yield "one class alone", command
    yield "a folder that is not there", [*command, "--config.data.folder=foto"]
    yield "a hold-out of all", [*command, "--config.data.holdout=12"]
    yield "a hold-out of none", [*command, "--config.data.holdout=0"]


def odd_masks(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Images and masks with one thing odd, for `inspect`."""
    command = ["inspect_", "--config=own_masks:tiny", f"--config.data.dir={root}"]
    folder, square = root / "cells", np.zeros((20, 20))
    square[5:9, 5:9] = 1
    for split, count in (("train", 12), ("val", 4)):
        for i in range(count):
            data_files.picture(folder / f"{split}/{i}.jpg", seed=20 * count + i)
            data_files.mask(folder / f"{split}annot/{i}.png", square)
    yield "masks: a class that has no pixel", [*command, "--config.data.classes=('a','b','c')"]
    yield "masks: fewer classes than labels", [*command, "--config.data.classes=('a',)"]
    yield "masks: no class", [*command, "--config.data.classes=()"]
    yield "masks: a palette of other length", [*command, "--config.data.palette=((0,0,0),)"]
    yield "masks: a colour that is none", [*command, "--config.data.colors=((0,0,0),(0,0,300))"]
    yield "masks: a name without its *", [*command, "--config.data.mask={folder}annot/mask"]
    yield "masks: another pattern of names", [*command, "--config.data.mask={folder}annot/*_mask"]
    file = folder / "trainannot/3.png"
    for title, content in (
        ("of colours", png(np.stack([square * 255] * 2 + [square], -1))),
        ("cut", file.read_bytes()[:40]),
        ("no image", b"<html>"),
        ("a label of 16 bits", png16(square * 300)),
    ):
        with changed(file, content):
            yield f"a mask: {title}", command
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = folder / "train/3.jpg"
    with changed(photo, photo.read_bytes()):
        data_files.picture(photo, exif=exif)
        yield "a photo turned by its EXIF tag, and a mask of its size", command
    with changed(folder / "trainannot/3.gif", gif(square * 255)):
        yield "two masks of one name", command
    for i in range(12):
        data_files.mask(folder / f"trainannot/{i}.png", square * 255)
    yield "masks of 0 and 255", [*command, "--config.data.val_folder=train"]


def mask_folder(root: Path) -> Iterator[tuple[str, list[str]]]:
    command = [*CAMVID, f"--config.data.dir={root}", "--config.data.limit=0"]
    folder = root / "CamVid"
    data_files.camvid(folder, counts={"train": 12, "val": 4, "test": 4}, size=(64, 32))
    mask = folder / "trainannot/train_003.png"
    for title, values in (("label 13", np.full((32, 64), 13)), ("of another size", np.zeros((30, 64)))):
        with changed(mask, png(values)):
            yield f"mask: {title}", command
    with changed(mask, None):
        yield "mask: missing", command
    with changed(folder / "train/train_003.png", None):
        yield "mask without its image", command
    yield "empty split", [*command, "--config.data.val_folder=nothing"]
    yield "size that the network does not keep", [*command, "--config.data.height=40"]
    yield "a label of void above 255", [*command, "--config.data.ignore=300"]
    tiles = [*TILES, f"--config.data.dir={root}", "--config.data.limit=0"]
    for split in ("train", "validation"):
        data_files.land_cover(root / "dubai_512" / split, [np.full((20, 20, 3), (60, 16, 152))] * 8)
    values = np.full((20, 20, 3), (60, 16, 152))
    values[4, 7] = (1, 2, 3)
    (root / "dubai_512/train/0003_mask.png").write_bytes(png(values))
    yield "colour that is not in the palette", [*tiles, "--config.data.outside=-1"]
    yield "name of an image that is not there", [*tiles, "--config.eval.named=('9999',)"]


def coco(root: Path) -> Iterator[tuple[str, list[str]]]:
    command = [*COCO, f"--config.data.dir={root}"]
    square = [[2, 2, 12, 2, 12, 12, 2, 12]]
    for split in ("train2017", "val2017"):
        photos = {f"{i:03d}": [("dog", square), ("car", square)] for i in range(8)}
        file = data_files.coco(root / "coco", split, photos, (20, 20))
    yield "COCO: unknown supercategory", [*command, "--config.data.groups=('animals','vehicle')"]
    content = json.loads(file.read_text())
    for title, polygons in (("corners", [[1, 1, 2, 2]]), ("RLE", {"size": [20, 20], "counts": [1, 2, 3]})):
        content["annotations"][3]["segmentation"] = polygons
        with changed(file, json.dumps(content).encode()):
            yield f"COCO: {title} that outline nothing", command
    with changed(file, b"{"):
        yield "COCO: annotations that are no JSON", command


def flowers17(root: Path) -> Iterator[tuple[str, list[str]]]:
    command = ["main", "--config=flowers17:tiny", f"--config.data.dir={root}"]
    trimaps = {i: np.full((20, 20, 3), (128, 0, 0)) for i in range(1, 9)}
    lists = {name: list(trimaps) for name in ("trn1", "trn2", "trn3", "val1")}
    data_files.flowers17(root, trimaps=trimaps, images=8, **lists)
    yield "Flowers-17: unknown list", [*command, "--config.data.val_lists=('val9',)"]
    with changed(root / "flowers17/datasplits.mat", b"MATLAB"):
        yield "Flowers-17: damaged lists", command


def of_the_workdir(root: Path) -> Iterator[tuple[str, list[str]]]:
    root.mkdir()
    (root / "file").write_text("")
    yield "workdir in a file", [*HORSES, f"--workdir={root}/file/run"]
    yield "workdir that may not be written to", [*HORSES, "--workdir=/proc/run"]
    run = root / "run"
    assert runs.run("main.py", *HORSES[1:], f"--workdir={run}")[0] == 0
    yield "another config in the workdir", [*HORSES, f"--workdir={run}", "--config.optim.lr=0.5"]
    yield "another network in the workdir", [*HORSES, f"--workdir={run}", "--config.model.width=8", "--override"]
    yield "predict: no images", ["predict", f"--workdir={run}", f"--images={root}/none", f"--out={root}/out"]
    yield "predict: no folder to write to", ["predict", f"--workdir={run}", f"--images={root}"]
    with changed(run / "config.json", b"{"):
        yield "workdir whose config.json is damaged", [*HORSES, f"--workdir={run}"]
    with changed(run / "metrics.jsonl", (run / "metrics.jsonl").read_bytes().replace(b"loss", b"lost", 1)):
        yield "workdir whose metrics.jsonl is damaged", [*HORSES, f"--workdir={run}"]
    weights = root / "weights.safetensors"
    save_file({"conv1.0.weight": np.zeros((3, 3), np.float32)}, weights)
    yield "weights of other names", [*HORSES, f"--config.init_from={weights}"]
    weights.write_bytes(weights.read_bytes()[:-8])
    yield "weights: cut", [*HORSES, f"--config.init_from={weights}"]
    (root / "weights.zip").write_bytes(b"PK")
    yield "weights of an unknown kind", [*HORSES, f"--config.init_from={root}/weights.zip"]
    (root / "weights.pth").write_bytes(pickle.dumps(SystemCall()))
    yield "weights: a pickle that runs code", [*HORSES, f"--config.init_from={root}/weights.pth"]
    yield "weights of a folder that is no run", [*HORSES, f"--config.init_from={root}"]
    yield "export to an unknown kind", ["convert", f"--workdir={run}", f"--export={root}/weights.onnx"]
    hold = "from jaxcv.store.folder import Folder; import sys, time\n"
    hold += "with Folder(sys.argv[1]).locked(): print(flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", hold, str(run)], stdout=subprocess.PIPE)
    other.stdout.readline()
    yield "workdir in use", [*HORSES, f"--workdir={run}"]
    other.kill()
    other.communicate()


@contextmanager
def changed(file: Path, content: bytes | None) -> Iterator[None]:
    """While this lasts `file` holds `content`, or is not there."""
    before = file.read_bytes() if file.exists() else None
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True) if content is None else file.write_bytes(content)
    yield
    file.unlink(missing_ok=True) if before is None else file.write_bytes(before)
    if not any(file.parent.iterdir()):
        file.parent.rmdir()


def png(values: np.ndarray) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        Image.fromarray(np.asarray(values, np.uint8)).save(file.name)
        return Path(file.name).read_bytes()


def png16(values: np.ndarray) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        Image.fromarray(np.asarray(values, np.uint16)).save(file.name)
        return Path(file.name).read_bytes()


def gif(values: np.ndarray) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".gif") as file:
        Image.fromarray(np.asarray(values, np.uint8)).save(file.name)
        return Path(file.name).read_bytes()


def animation(pixels: np.ndarray) -> bytes:
    first, *more = (Image.fromarray(pixels[..., i : i + 3]) for i in range(2))
    with tempfile.NamedTemporaryFile(suffix=".gif") as file:
        first.save(file.name, save_all=True, append_images=more)
        return Path(file.name).read_bytes()


def npy(array: np.ndarray) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, array)
        return Path(file.name).read_bytes()


def bomb() -> bytes:
    """A PNG whose header says 30000 x 20000."""
    content = bytearray(png(np.zeros((1, 1, 3))))
    content[16:24] = struct.pack(">2I", 30000, 20000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


if __name__ == "__main__":
    main()
