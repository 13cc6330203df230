"""Writes ops.npz, torchvision's results on fixed random images: `cd tests; python -m goldens.make_ops`, with torch."""

from pathlib import Path

import numpy as np

from goldens.parity import import_torchvision

CROPS = [((3, 2, 9, 11), (4, 5)), ((0, 5, 12, 7), (17, 9)), ((4, 0, 6, 6), (6, 6)), ((1, 1, 11, 3), (3, 11))]


def image() -> np.ndarray:
    return np.random.default_rng(0).random((12, 14, 3), np.float32)  # h w c


def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(20, 220, (12, 14, 3), np.uint8)  # h w c


def float_ops() -> dict[str, np.ndarray]:
    """Ops of a float image."""
    import torch
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as tv

    methods = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
    x = torch.from_numpy(image()).permute(2, 0, 1)
    made = {}
    for i, (box, size) in enumerate(CROPS):
        for name, method in methods.items():
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
    return {name: y.permute(1, 2, 0).numpy() for name, y in made.items()}


def statistics(boxes: list, height: int, width: int) -> np.ndarray:
    """6 n: top, left, height, width, area and log ratio of boxes."""
    top, left, h, w = np.array(boxes, np.float64).T
    return np.stack([top, left, h, w, h * w / (height * width), np.log(w / h)])


def draws() -> dict[str, np.ndarray]:
    """The deciles and means of the boxes that are cropped or erased."""
    import torch
    from torchvision.transforms import RandomErasing, RandomResizedCrop

    made = {}
    torch.manual_seed(0)
    for height, width in ((32, 32), (24, 96)):  # the second often falls back to the central crop
        blank = torch.zeros(3, height, width)
        boxes = [RandomResizedCrop.get_params(blank, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(20_000)]
        drawn = statistics(boxes, height, width)
        made[f"boxes/{height}x{width}"] = np.quantile(drawn, np.linspace(0.1, 0.9, 9), axis=1).T.astype(np.float32)
        made[f"box_means/{height}x{width}"] = drawn.mean(axis=1).astype(np.float32)
    blank = torch.zeros(3, 24, 40)
    boxes = [RandomErasing.get_params(blank, (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(20_000)]
    made["erased_means"] = statistics(boxes, 24, 40).mean(axis=1).astype(np.float32)
    return made


def policies() -> dict[str, np.ndarray]:
    """AutoAugment's policies, the magnitudes of its ops and of RandAugment's, and its ops of an 8-bit image."""
    from PIL import Image
    from torchvision.transforms import InterpolationMode, autoaugment

    made = {}
    for policy in (autoaugment.AutoAugmentPolicy.CIFAR10, autoaugment.AutoAugmentPolicy.IMAGENET):
        pairs = autoaugment.AutoAugment(policy).policies
        made[f"policy/{policy.value}"] = np.array(
            [f"{name} {p} {step or 0}" for pair in pairs for name, p, step in pair]
        )
    for bins, kind in ((10, autoaugment.AutoAugment()), (31, autoaugment.RandAugment())):
        for name, (amount, _) in kind._augmentation_space(bins, (32, 48)).items():
            made[f"magnitude/{bins}/{name}"] = np.broadcast_to(amount.numpy().astype(np.float32), bins)
    for name, (amounts, signed) in autoaugment.AutoAugment()._augmentation_space(10, (12, 14)).items():
        for step in (4, 9) if amounts.ndim else (0,):
            for sign in (1, -1) if signed else (1,):
                amount = sign * amounts.flatten()[step].item()
                done = autoaugment._apply_op(Image.fromarray(pixels()), name, amount, InterpolationMode.NEAREST, None)
                made[f"op/{name}/{step}/{sign}"] = np.asarray(done)
    return made


def main() -> None:
    import_torchvision()
    np.savez_compressed(Path(__file__).with_name("ops.npz"), **float_ops(), **draws(), **policies())


if __name__ == "__main__":
    main()
