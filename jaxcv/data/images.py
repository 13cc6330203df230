"""Images and masks on disk, resized to a canvas of one size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jaxcv.data.source import Info
from jaxcv.errors import ConfigError, DataError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
MAX_PIXELS = 89_478_485  # above this Pillow warns of a decompression bomb


def image_info(
    name: str,
    classes: Sequence[str],
    height: int,
    width: int,
    *,
    palette: Sequence[Sequence[int]] = (),
    ignore: int = 255,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    **options: Any,
) -> Info:
    """The Info, without the fingerprint, of RGB images on a canvas of (height, width) pixels; ignores other options.

    Raises ConfigError for an empty canvas.
    """
    if height < 1 or width < 1:
        raise ConfigError(f"data.height={height} and data.width={width} must be the canvas in pixels, 1 or more")
    colors = tuple((r, g, b) for r, g, b in palette)
    return Info(name, tuple(classes), (height, width, 3), tuple(mean), tuple(std), palette=colors, ignore=ignore)


def list_images(folder: Path) -> list[Path]:
    """The visible image files directly in `folder`, sorted by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def no_images(where: Path) -> DataError:
    """The error for a folder without images."""
    return DataError(f"there is no image in {where}: it should hold {', '.join(sorted(SUFFIXES))} files")


def open_image(path: Path, formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP")) -> Image.Image:
    """The image at `path`, whole and upright, in its own mode of 8 bits a channel. DataError names the file."""
    try:
        with Image.open(path, formats=formats) as image:
            w, h = image.size
            if w * h > MAX_PIXELS:
                raise ValueError(f"{w}x{h} pixels are too many to decode safely")
            if image.mode.startswith("I") or image.mode == "F":
                raise ValueError(f"mode {image.mode} has more than 8 bits a channel, save it with 8")
            return ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        raise DataError(f"{path}: this is no {', '.join(formats)} image") from None
    except Exception as error:  # a damaged file can fail in any way at all
        raise DataError(f"{path}: {error}") from error


def stretch(image: Image.Image, height: int, width: int) -> np.ndarray:
    """uint8 (height, width, 3): RGB, resized without keeping the aspect ratio, bilinear and antialiased."""
    return np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))


def stretch_pair(image: Image.Image, mask: np.ndarray, height: int, width: int) -> dict[str, np.ndarray]:
    """An example: the image as `stretch` gives it, and its mask uint8 (h, w) resized by nearest neighbour."""
    resized = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)  # blends no labels
    return {"image": stretch(image, height, width), "mask": np.asarray(resized)}
