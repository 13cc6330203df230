"""Gives the commands what no run can be made of, one mistake at a time, and prints what each says of it.

python tests/bad_inputs.py [--only=WORD]

Every row must end in a non-zero exit and one line on stderr, without a traceback, and leave no workdir behind; the exit
code is 1 if one does not.
"""

import argparse
import gzip
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

import data_files
import runs

FASHION = ["main.py", "--config=configs/fashion_mnist.py:tiny"]
BYOL = ["main.py", "--config=configs/byol.py:tiny"]
HORSES = ["main.py", "--config=configs/colorize.py:tiny"]
ANTS = ["main.py", "--config=configs/binary.py:tiny"]
CAMVID = ["main.py", "--config=configs/camvid.py:tiny"]
TILES = ["main.py", "--config=configs/landcover.py:dubai,small,tiny"]
COCO = ["main.py", "--config=configs/coco.py:tiny"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose title has this word")
    word = parser.parse_args().only
    failures = count = 0
    print("| what | what is said |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.pop("JAXCV_DATA", None)
        root = Path(folder)
        for title, command in rows(root):
            if word not in title:
                continue
            said, good = answer(command, root)
            count, failures = count + 1, failures + (not good)
            print(f"| {title} | {'' if good else '**NOT ONE LINE, OR A WORKDIR** '}{said} |", flush=True)
    print(f"\n{count} mistakes, {failures} not answered by one line and a non-zero exit, or with a workdir left")
    raise SystemExit(bool(failures))


def answer(command: list[str], root: Path) -> tuple[str, bool]:
    """What a command says on stderr, and whether that is one line, after which it ends with an error and no workdir."""
    script, *flags = command
    workdir = root / "runs/refused"
    if script in ("main.py", "sweep.py") and not any(flag.startswith("--workdir") for flag in flags):
        flags = [*flags, f"--workdir={workdir}"]
    code, _, err = runs.run(script, *flags)
    lines = err.strip().splitlines()
    good = code not in (0, None) and len(lines) == 1 and lines[0].startswith("error: ") and not workdir.parent.exists()
    shutil.rmtree(workdir.parent, ignore_errors=True)
    return "<br>".join(lines).replace(str(root), "DIR").replace("|", "\\|").removeprefix("error: "), good


def rows(root: Path) -> Iterator[tuple[str, list[str]]]:
    """(title, command) one by one; what the command reads is there when it is yielded."""
    yield from of_the_command_line()
    yield from of_a_config_file(root)
    yield from of_the_config()
    for files in (fashion_mnist, cifar10, image_folder, mask_folder, coco, flowers17):
        folder = root / files.__name__
        folder.mkdir()
        yield from files(folder)
    yield from of_the_workdir(root / "place")


def of_the_command_line() -> Iterator[tuple[str, list[str]]]:
    yield "no config", ["main.py"]
    yield "sweep without its data", ["sweep.py", "--config=fashion_mnist:ablation,tiny"]
    yield "training of a sweep", ["main.py", "--config=fashion_mnist:ablation"]
    yield "config file that is not there", ["main.py", "--config=configs/bjol.py"]
    yield "config name that is not there", ["main.py", "--config=bjol"]
    yield "config name of nothing", ["main.py", "--config=zzz"]
    yield "config file elsewhere", ["main.py", "--config=elsewhere/byol.py"]
    yield "no config behind its flag", ["main.py", "--config"]
    yield "unknown variant of a name", ["main.py", "--config=byol:tinny"]
    yield "unknown variant", ["main.py", "--config=configs/byol.py:tinny"]
    yield "a word that is no flag", [*HORSES, "resume"]
    yield "unknown flag", [*HORSES, "--wrokdir=x"]
    yield "unknown key", [*HORSES, "--config.optim.lrr=1"]
    yield "unknown key of a group", [*HORSES, "--config.optim.adam.beta=1"]
    yield "unknown group", [*HORSES, "--config.optimizer.lr=1"]
    yield "key without a value", [*HORSES, "--config.optim.lr"]
    yield "key of a command without a config", ["predict.py", "--config.optim.lr=1"]
    yield "word for a number", [*HORSES, "--config.optim.lr=fast"]
    yield "fraction for a whole number", [*HORSES, "--config.train.batch_size=1.5"]
    yield "number for a group", [*HORSES, "--config.optim=1"]
    yield "word for a switch", [*HORSES, "--override=maybe"]
    yield "word for the number of a flag", ["bench.py", *HORSES[1:], "--steps=many"]
    yield "no steps to time", ["bench.py", *HORSES[1:], "--steps=0"]
    yield "sweep of a config without one", ["sweep.py", "--config=configs/colorize.py:tiny"]
    yield "predict without a run", ["predict.py"]
    yield "convert without a task", ["convert.py"]
    yield "verify without a run", ["verify.py", "--workdir=/nowhere"]
    yield "summary of an odd shape", ["summary.py", "--config=configs/byol.py:tiny", "--image=32"]
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
        yield f"config file {title}", ["main.py", f"--config={root}/mine.py:tiny"]


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
        ["main.py", "--config=configs/byol.py:tiny", "--config.augment.view1.order=('flipp',)"],
    )
    yield "depth that ResNet does not have", ["main.py", "--config=configs/byol.py:tiny", "--config.model.depth=20"]


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
    command = ["main.py", "--config=configs/byol.py:cifar10,tiny", f"--config.data.dir={root}"]
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
    command = ["main.py", "--config=configs/transfer.py:tiny", f"--config.data.dir={root}"]
    yield "CSV of labels that is not there", [*command, "--config.data.folder=hymenoptera_data"]


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
    yield "remapping that lacks labels", [*command, "--config.data.ignore=300"]
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
    command = ["main.py", "--config=configs/flowers17.py:tiny", f"--config.data.dir={root}"]
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
    yield "predict: no images", ["predict.py", f"--workdir={run}", f"--images={root}/none", f"--out={root}/out"]
    yield "predict: no folder to write to", ["predict.py", f"--workdir={run}", f"--images={root}"]
    with changed(run / "config.json", b"{"):
        yield "workdir whose config.json is damaged", [*HORSES, f"--workdir={run}"]
    with changed(run / "metrics.jsonl", b"{\n" + (run / "metrics.jsonl").read_bytes()):
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
    yield "export to an unknown kind", ["convert.py", f"--workdir={run}", f"--export={root}/weights.onnx"]
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
    before = file.read_bytes()
    file.unlink() if content is None else file.write_bytes(content)
    yield
    file.write_bytes(before)


def png(values: np.ndarray) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        Image.fromarray(np.asarray(values, np.uint8)).save(file.name)
        return Path(file.name).read_bytes()


def bomb() -> bytes:
    """A PNG whose header says 30000 x 20000."""
    content = bytearray(png(np.zeros((1, 1, 3))))
    content[16:24] = struct.pack(">2I", 30000, 20000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


if __name__ == "__main__":
    main()
