"""Writes data in the forms of data sets that cannot be had: what runs show of these forms is made of this.

python tests/make_forms.py --out=DIR [--cifar10=DIR]      then --config.data.dir=DIR

DIR/p1_data     CIFAR-10, read from the other DIR, as {class}_{id}.png (configs/classify50.py)
DIR/coco        drawn shapes in COCO's form, two kinds of shape to each supercategory (configs/coco.py)
DIR/flowers17   drawn shapes with trimaps (configs/flowers17.py)
"""

import argparse
import json
from pathlib import Path

import contourpy
import numpy as np
from PIL import Image
from scipy.io import savemat

from jaxcv.data import cifar10, shapes

GROUPS = ("sports", "accessory", "animal", "vehicle", "person")
HOLLOW = "ring"  # no polygon has a hole
FLOWER, GROUND = (128, 0, 0), (0, 0, 128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cifar10", default="")
    options = parser.parse_args()
    if options.cifar10:
        named_files(options.out / "p1_data", options.cifar10)
    coco(options.out / "coco")
    flowers17(options.out / "flowers17")


def named_files(folder: Path, data: str) -> None:
    """folder/train_50 and folder/val_50 with the two splits of CIFAR-10 as {class}_{id}.png."""
    for split, name in (("train", "train_50"), ("test", "val_50")):
        source = cifar10.source(split, dir=data, holdout=0)
        (folder / name).mkdir(parents=True)
        for i in range(len(source)):
            example = source[i]
            Image.fromarray(example["image"]).save(folder / name / f"{int(example['label'])}_{i}.png")


def coco(folder: Path, *, size: int = 96, train: int = 1500, val: int = 300) -> None:
    """folder/{train,val}2017 and folder/annotations: polygons, and for rings runs."""
    categories = [
        {"id": 1 + i, "name": name, "supercategory": GROUPS[i % len(GROUPS)]} for i, name in enumerate(shapes.CLASSES)
    ]
    for split, count in (("train", train), ("val", val)):
        source = shapes.source(split, size=size, count=count)
        photos, annotations = folder / f"{split}2017", []
        photos.mkdir(parents=True)
        for i in range(count):
            example = source[i]
            Image.fromarray(example["image"]).save(photos / f"{i:06d}.jpg", quality=95)
            label = int(example["label"])
            hollow = shapes.CLASSES[label] == HOLLOW
            segmentation = (runs if hollow else polygons)(example["mask"] > 0)
            row = {"id": i, "image_id": i, "category_id": 1 + label, "segmentation": segmentation}
            annotations.append({**row, "iscrowd": int(hollow)})
        images = [{"id": i, "file_name": f"{i:06d}.jpg", "height": size, "width": size} for i in range(count)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        path = folder / f"annotations/instances_{split}2017.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))


def polygons(mask: np.ndarray) -> list[list[float]]:
    """The outlines of what is True: x, y, x, y, ... of each, as between the pixels' centres."""
    lines = contourpy.contour_generator(z=np.pad(mask, 1).astype(float)).lines(0.5)
    return [(line - 0.5).ravel().tolist() for line in lines if len(line) > 3]


def runs(mask: np.ndarray) -> dict:
    """Lengths of the runs of False and True, in turn, down the columns."""
    flat = np.concatenate([[False], mask.T.ravel()])
    ends = np.flatnonzero(np.diff(flat)).tolist()
    return {"size": list(mask.shape), "counts": np.diff([0, *ends, mask.size]).tolist()}


def flowers17(folder: Path, *, size: int = 96, count: int = 848) -> None:
    """folder/jpg, folder/trimaps and folder/datasplits.mat; the lists of the three partitions, half of it to train."""
    source = shapes.source("train", size=size, count=count)
    for name in ("jpg", "trimaps"):
        (folder / name).mkdir(parents=True)
    for i in range(count):
        example = source[i]
        Image.fromarray(example["image"]).save(folder / f"jpg/image_{i + 1:04d}.jpg", quality=95)
        trimap = np.where(example["mask"][..., None] > 0, FLOWER, GROUND).astype(np.uint8)
        Image.fromarray(trimap).save(folder / f"trimaps/image_{i + 1:04d}.png")
    lists = {}
    for number in (1, 2, 3):
        order = 1 + np.random.default_rng(number).permutation(count)
        parts = np.split(order, [count // 2, count * 3 // 4])
        lists |= {f"{name}{number}": part[None].astype(np.uint16) for name, part in zip(("trn", "val", "tst"), parts)}
    savemat(folder / "datasplits.mat", lists)


if __name__ == "__main__":
    main()
