"""Writes ops.npz: what torchvision makes of a fixed random image. Run by hand, with torch and torchvision."""

from pathlib import Path

import numpy as np
import torch
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as tv

METHODS = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
CROPS = [((3, 2, 9, 11), (4, 5)), ((0, 5, 12, 7), (17, 9)), ((4, 0, 6, 6), (6, 6)), ((1, 1, 11, 3), (3, 11))]


def image() -> np.ndarray:
    return np.random.default_rng(0).random((12, 14, 3), np.float32)  # h w c


def main() -> None:
    x = torch.from_numpy(image()).permute(2, 0, 1)
    made = {}
    for i, (box, size) in enumerate(CROPS):
        for name, method in METHODS.items():
            made[f"crop/{i}/{name}"] = tv.resized_crop(x, *box, list(size), method, antialias=True)
    for factor in (0.0, 0.3, 1.7):
        made[f"brightness/{factor}"] = tv.adjust_brightness(x, factor)
        made[f"contrast/{factor}"] = tv.adjust_contrast(x, factor)
        made[f"saturation/{factor}"] = tv.adjust_saturation(x, factor)
    for delta in (-0.5, -0.13, 0.0, 0.3):
        made[f"hue/{delta}"] = tv.adjust_hue(x, delta)
    for kernel, sigma in ((3, 1.3), (9, 0.1), (9, 2.0), (23, 4.0)):
        made[f"blur/{kernel}/{sigma}"] = tv.gaussian_blur(x, [kernel] * 2, [sigma] * 2)
    made["solarize/0.4"] = tv.solarize(x, 0.4)
    made["gray"] = tv.rgb_to_grayscale(x, 3)
    made = {name: y.permute(1, 2, 0).numpy() for name, y in made.items()}

    torch.manual_seed(0)
    for height, width in ((32, 32), (24, 96)):  # the second often falls back to the central crop
        blank = torch.zeros(3, height, width)
        boxes = [RandomResizedCrop.get_params(blank, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(20_000)]
        # the deciles of top, left, height, width, area and log ratio
        top, left, h, w = np.array(boxes, np.float64).T
        drawn = np.stack([top, left, h, w, h * w / (height * width), np.log(w / h)])
        made[f"boxes/{height}x{width}"] = np.quantile(drawn, np.linspace(0.1, 0.9, 9), axis=1).T.astype(np.float32)
        made[f"box_means/{height}x{width}"] = drawn.mean(axis=1).astype(np.float32)
    np.savez_compressed(Path(__file__).with_name("ops.npz"), **made)


if __name__ == "__main__":
    main()
