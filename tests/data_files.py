"""Writes tiny data sets in each of the forms that jaxcv.data reads, for tests."""

import csv
import gzip
import itertools
import json
import pickle
import struct
from pathlib import Path

import numpy as np
from PIL import Image


def idx(array: np.ndarray) -> bytes:
    """`array` (uint8) in the IDX format."""
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def fashion_mnist(root: Path, *, train: int = 20, test: int = 10, seed: int = 0) -> dict[str, np.ndarray]:
    """The four gzipped IDX files under root/fashion_mnist. Returns the arrays by file prefix."""
    rng = np.random.default_rng(seed)
    folder = root / "fashion_mnist"
    folder.mkdir(parents=True)
    arrays = {}
    for prefix, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
        arrays |= {f"{prefix}_images": images, f"{prefix}_labels": labels}
    return arrays


def python2_pickle(data: np.ndarray, labels: list[int]) -> bytes:
    """{"data": data, "labels": labels} as Python 2 with an old numpy wrote it, in protocol 0."""

    def string(value: bytes) -> bytes:
        body = "".join(chr(b) if 32 <= b < 127 and b not in b"\\'" else f"\\x{b:02x}" for b in value)
        return f"S'{body}'\n".encode()

    shape = b"(" + b"".join(b"I%d\n" % n for n in data.shape) + b"t"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt" + string(b"b") + b"tR"
        b"(I1\n" + shape + b"cnumpy\ndtype\n(" + string(b"u1") + b"I0\nI1\ntR"
        b"(I3\n" + string(b"|") + b"NNNI-1\nI-1\nI0\ntbI00\n" + string(data.tobytes()) + b"tb"
    )
    numbers = b"(l" + b"".join(b"I%d\na" % n for n in labels)
    return b"(d" + string(b"data") + array + b"s" + string(b"labels") + numbers + b"s."


def cifar10(root: Path, *, each: int = 4, protocol: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """The six batch files under root/cifar-10-batches-py. Protocol 0 is written as Python 2 wrote it."""
    rng = np.random.default_rng(seed)
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    arrays = {}
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        data = rng.integers(0, 256, (each, 3072), dtype=np.uint8)
        labels = rng.integers(0, 10, each).tolist()
        if protocol == 0:
            content = python2_pickle(data, labels)
        else:
            content = pickle.dumps({b"data": data, b"labels": labels}, protocol=protocol)
        (folder / name).write_bytes(content)
        arrays[name] = (data, np.array(labels))
    return arrays


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (20, 20), **save) -> np.ndarray:
    """Saves a random RGB picture of size (w, h) at `path` and returns its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **save)
    return pixels


def class_folders(folder: Path, counts: dict[str, int], *, suffix: str = ".png") -> None:
    """folder/CLASS/IMAGE for as many images of each class as `counts` says."""
    for c, (name, count) in enumerate(counts.items()):
        for i in range(count):
            picture(folder / name / f"{i:03d}{suffix}", seed=100 * c + i)


def csv_labels(folder: Path, labels: list[str]) -> None:
    """folder/IMAGE and folder.csv beside it, with the columns id, filename, label."""
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "filename", "label"])
        for i, label in enumerate(labels):
            picture(folder / f"{i:05d}.jpg", seed=i)
            writer.writerow([i, f"{i:05d}.jpg", label])


def named_files(folder: Path, labels: list[str]) -> None:
    """folder/CLASS_NUMBER.png."""
    for i, label in enumerate(labels):
        picture(folder / f"{label}_{i}.png", seed=i)


def mask(path: Path, values: np.ndarray, **save) -> np.ndarray:
    """Saves `values`, uint8 labels (h, w) or colours (h, w, 3), at `path` and returns them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path, **save)
    return values


def camvid(root: Path, *, counts: dict[str, int], size: tuple[int, int] = (24, 18)) -> dict[str, np.ndarray]:
    """root/SPLIT/NAME.png and root/SPLITannot/NAME.png, labels 0..11. Returns the masks by "SPLIT/NAME"."""
    masks = {}
    for split, count in counts.items():
        for i in range(count):
            name = f"{split}_{i:03d}"
            picture(root / split / f"{name}.png", seed=i, size=size)
            labels = np.random.default_rng(i).integers(0, 12, size[::-1])
            masks[f"{split}/{name}"] = mask(root / f"{split}annot" / f"{name}.png", labels)
    return masks


def land_cover(folder: Path, masks: list[np.ndarray]) -> None:
    """folder/NNNN_sat.jpg and folder/NNNN_mask.png, for masks of colours (h, w, 3)."""
    for i, colors in enumerate(masks):
        picture(folder / f"{i:04d}_sat.jpg", seed=i, size=colors.shape[1::-1])
        mask(folder / f"{i:04d}_mask.png", colors)


def flowers17(root: Path, *, trimaps: dict[int, np.ndarray], images: int, **lists: list[int]) -> None:
    """root/flowers17 with that many images, trimaps (h, w, 3) of some, and datasplits.mat with the `lists`."""
    from scipy.io import savemat

    folder = root / "flowers17"
    for number in range(1, images + 1):
        size = trimaps[number].shape[1::-1] if number in trimaps else (20, 20)
        picture(folder / f"jpg/image_{number:04d}.jpg", seed=number, size=size)
    for number, colors in trimaps.items():
        mask(folder / f"trimaps/image_{number:04d}.png", colors)
    savemat(folder / "datasplits.mat", {name: np.array([numbers], np.uint16) for name, numbers in lists.items()})


def coco(folder: Path, split: str, photos: dict[str, list[tuple[str, object]]], size: tuple[int, int]) -> Path:
    """folder/SPLIT/PHOTO.jpg and the annotations: for each photo (category, segmentation). Returns the JSON's path.

    The categories are dog and cat (animal), car (vehicle), bench (outdoor) and person (person).
    """
    groups = {"dog": "animal", "cat": "animal", "car": "vehicle", "bench": "outdoor", "person": "person"}
    ids = {name: 10 * i for i, name in enumerate(groups, 1)}
    content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": ids[name], "name": name, "supercategory": group} for name, group in groups.items()],
    }
    for i, (photo, objects) in enumerate(photos.items()):
        picture(folder / split / f"{photo}.jpg", seed=i, size=size)
        content["images"].append({"id": i, "file_name": f"{photo}.jpg", "height": size[1], "width": size[0]})
        for category, segmentation in objects:
            rows = content["annotations"]
            row = {"id": len(rows), "image_id": i, "category_id": ids[category], "segmentation": segmentation}
            rows.append({**row, "iscrowd": int(isinstance(segmentation, dict))})
    path = folder / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


# What tests/test_contract_data.py asks of each file of jaxcv/data: CASES[its name](root, seed) writes a small data set
# under `root`, another one for another seed, and returns options of its `source` and a change of them after which the
# training images or labels are others.


def _cifar10_case(root: Path, seed: int) -> tuple[dict, dict]:
    cifar10(root, seed=seed)
    return {"dir": str(root), "holdout": 5}, {"holdout": 6}


def _fashion_mnist_case(root: Path, seed: int) -> tuple[dict, dict]:
    fashion_mnist(root, seed=seed)
    return {"dir": str(root), "holdout": 5}, {"holdout": 6}


def _shapes_case(root: Path, seed: int) -> tuple[dict, dict]:
    return {"size": 8, "count": 12, "seed": seed}, {"size": 9}


def _color_index_case(root: Path, seed: int) -> tuple[dict, dict]:
    return {"base": "shapes", "size": 8, "count": 12, "seed": seed, "colors": 3}, {"colors": 4}


def _image_folder_case(root: Path, seed: int) -> tuple[dict, dict]:
    class_folders(root / "set/train", {"a": 5, "b": 3 + seed})
    class_folders(root / "set/val", {"a": 2, "b": 1 + seed})
    return {"dir": str(root), "folder": "set", "size": 16, "holdout": 0.3}, {"holdout": 3}


def _mask_folder_case(root: Path, seed: int) -> tuple[dict, dict]:
    camvid(root / "set", counts={"train": 5 + seed, "test": 2 + seed})
    classes = tuple(f"class {i}" for i in range(11))
    options = {"dir": str(root), "folder": "set", "height": 9, "width": 12, "classes": classes, "ignore": 11}
    return options | {"holdout": 0.4}, {"outside": 0}


def _coco_case(root: Path, seed: int) -> tuple[dict, dict]:
    outlined = [("dog", [[1, 1, 9, 1, 9, 9]]), ("car", [[4, 4, 11, 4, 11, 9]])]
    for split in ("train2017", "val2017"):
        coco(root / "coco", split, {f"{i:03d}": outlined for i in range(5 + seed)}, (12, 10))
    groups = ("animal", "vehicle")
    return {"dir": str(root), "height": 5, "width": 6, "groups": groups, "holdout": 0.4}, {"groups": groups[:1]}


def _flowers17_case(root: Path, seed: int) -> tuple[dict, dict]:
    trimaps = {i: np.full((10, 12, 3), (128, 0, 0) if i % 2 else (0, 0, 0)) for i in range(1, 10)}
    lists = {"trn1": [1, 2, 3], "val1": [4, 5], "tst1": [6, 7], "trn2": [1, 2, 8]}
    lists = {name: [number + seed for number in numbers] for name, numbers in lists.items()}
    flowers17(root, trimaps=trimaps, images=9, **lists)
    return {"dir": str(root), "height": 5, "width": 6}, {"train_lists": ("trn2",)}


CASES = {
    "cifar10": _cifar10_case,
    "coco": _coco_case,
    "color_index": _color_index_case,
    "fashion_mnist": _fashion_mnist_case,
    "flowers17": _flowers17_case,
    "image_folder": _image_folder_case,
    "mask_folder": _mask_folder_case,
    "shapes": _shapes_case,
}


def of_every_config(root: Path) -> Path:
    """Puts a little data into `root` in the form of each data set that the variants of configs/ name; returns it."""
    fashion_mnist(root, train=40)
    cifar10(root, each=8)
    for folder in ("imagenette2-160", "mini", "imagenet"):
        class_folders(root / folder / "train", {"ant": 12, "bee": 12})
        class_folders(root / folder / "val", {"ant": 2, "bee": 2})
    camvid(root / "CamVid", counts={"train": 12, "val": 4, "test": 4})
    for split, i in itertools.product(("train", "val"), range(12)):
        picture(root / f"cells/{split}/{i}.jpg", seed=i)
        mask(root / f"cells/{split}annot/{i}.png", np.eye(20) * 255)
    for split, number in (("train", 12), ("val", 2)):
        class_folders(root / "hymenoptera_data" / split, {"ant": number, "bee": number})
        class_folders(root / "photos" / split, {"ant": number, "bee": number})
        rows = [
            f"{name}/{i:03d}.png,{label}" for i in range(number) for name, label in (("ant", "ant"), ("bee", "ant bee"))
        ]
        (root / "photos" / f"{split}.csv").write_text("\n".join(["filename,label", *rows]))
        csv_labels(root / "p2_data" / "office" / split, ["chair", "desk"] * number)
        named_files(root / "p1_data" / f"{split}_50", ["0", "1"] * number)
    for split in ("train", "validation"):
        land_cover(root / "p2_data" / split, [np.zeros((20, 20, 3))] * 8)
        land_cover(root / "dubai_512" / split, [np.full((20, 20, 3), (60, 16, 152))] * 8)
    square = [[2, 2, 12, 2, 12, 12, 2, 12]]
    for split in ("train2017", "val2017"):
        photos = {f"{i:03d}": [("dog", square), ("car", square)] for i in range(8)}
        coco(root / "coco", split, photos, (20, 20))
    trimaps = {i: np.full((20, 20, 3), (128, 0, 0)) for i in range(1, 9)}
    lists = {name: list(trimaps) for name in ("trn1", "trn2", "trn3", "val1")}
    flowers17(root, trimaps=trimaps, images=8, **lists)
    return root
