"""Images and masks on disk, resized to a canvas of one size."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jaxcv.data.source import Info
from jaxcv.errors import ConfigError, DataError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
SUFFIXES = (".jpeg", ".jpg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
SAMPLES_PER_PIXEL = 277  # the TIFF tag of the number of channels, of which Pillow drops what it has no mode for
MAX_PIXELS = 89_478_485  # above this Pillow warns of a decompression bomb


def image_info(
    name: str,
    classes: Sequence[str],
    height: int,
    width: int,
    *,
    channels: int = 3,
    palette: Sequence[Sequence[int]] = (),
    ignore: int = 255,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    **options: Any,
) -> Info:
    """The Info, without the fingerprint, of images on a canvas of (height, width) pixels; ignores other options.

    Raises ConfigError for a mean or std that are not those of so many channels.
    """
    if not len(mean) == len(std) == channels:
        raise ConfigError(f"config.data.channels={channels} needs data.mean and data.std with {channels} numbers each")
    colors = tuple((r, g, b) for r, g, b in palette)
    return Info(name, tuple(classes), (height, width, channels), tuple(mean), tuple(std), palette=colors, ignore=ignore)


def no_images(where: Path) -> DataError:
    """The error for a folder without images."""
    return DataError(f"there is no image in {where}: it should hold {', '.join(SUFFIXES)} files")


def check_8_bits(image: Image.Image) -> None:
    """Raises ValueError for more than 8 bits a channel, and for channels that Pillow would drop."""
    if image.mode.startswith("I") or image.mode == "F":
        raise ValueError(f"mode {image.mode} has more than 8 bits a channel, save it with 8")
    stored = getattr(image, "tag_v2", {}).get(SAMPLES_PER_PIXEL, 0)
    if stored > max(4, len(image.getbands())):
        raise ValueError(f"{stored} channels are too many for a TIFF, save a .npy of uint8 (h, w, {stored})")


def open_image(
    path: Path, formats: tuple[str, ...] = FORMATS, *, check: Callable[[Image.Image], None] = check_8_bits
) -> Image.Image:
    """The image at `path`, whole and upright, in its own mode; of an animation the first frame.

    check: raises ValueError for what is not wanted, before decoding.  DataError names the file.
    """
    try:
        with Image.open(path, formats=formats) as image:
            w, h = image.size
            if w * h > MAX_PIXELS:
                raise ValueError(f"{w}x{h} pixels are too many to decode safely")
            check(image)
            return ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        raise DataError(f"{path}: this is no {', '.join(formats)} image") from None
    except Exception as error:  # a damaged file can fail in any way at all
        raise DataError(f"{path}: {error}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in RGB; where it is transparent, on white."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def read_channels(path: Path, channels: int) -> list[Image.Image]:
    """The image at `path` as one in RGB where `channels` is 3, else as a grey one for each channel.

    path: a file that `open_image` reads, or a .npy of uint8 (h, w, channels).  DataError for other channels.
    """
    if path.suffix.lower() == ".npy":
        return _read_array(path, channels)
    image = open_image(path)
    if channels == 3:
        return [to_rgb(image)]
    if channels == 1:
        return [image if image.mode == "L" else to_rgb(image).convert("L")]
    bands = list(image.split())
    if len(bands) != channels:
        raise DataError(f"{path} has {len(bands)} channels ({image.mode}), but data.channels={channels}")
    return bands


def _read_array(path: Path, channels: int) -> list[Image.Image]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # not yet in memory, however large it claims to be
    except Exception as error:  # a damaged file can fail in any way at all
        raise DataError(f"{path}: {error}") from error
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != channels or not array.size > 0:
        raise DataError(f"{path} is {array.dtype} {array.shape}, expected uint8 (h, w, data.channels={channels})")
    if array.size > MAX_PIXELS * channels:
        raise DataError(f"{path}: {array.shape[1]}x{array.shape[0]} pixels are too many to decode safely")
    return [Image.fromarray(np.ascontiguousarray(array[..., i])) for i in range(channels)]


def tell_headers(where: str, files: Iterable[Path], channels: int) -> list[str]:
    """A sentence for each thing in the headers of image files that does not reach the network.

    JPEG files are not opened, since they have none of these things.
    """
    found: dict[str, list[str]] = {}
    for file in files:
        if file.suffix.lower() in (".jpg", ".jpeg", ".npy"):
            continue
        with suppress(Exception), Image.open(file, formats=FORMATS) as image:  # decoding names a damaged file
            if channels in (1, 3) and image.has_transparency_data:
                found.setdefault("transparent parts become white", []).append(file.name)
            if channels in (1, 3) and image.mode == "RGBX":
                found.setdefault("a fourth channel is read with data.channels=4 alone", []).append(file.name)
            if getattr(image, "is_animated", False):
                found.setdefault("the first of several frames is used", []).append(file.name)
    return [f"{where}: {what} (images: {len(names)}, such as {names[0]})." for what, names in found.items()]


def stretch(image: Image.Image, height: int, width: int) -> np.ndarray:
    """uint8 (height, width, 3): RGB, resized without keeping the aspect ratio, bilinear and antialiased."""
    return np.asarray(to_rgb(image).resize((width, height), Image.Resampling.BILINEAR))


def stretch_pair(image: Image.Image, mask: np.ndarray, height: int, width: int) -> dict[str, np.ndarray]:
    """An example: the image as `stretch` gives it, and its mask uint8 (h, w) resized by nearest neighbour."""
    resized = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)  # blends no labels
    return {"image": stretch(image, height, width), "mask": np.asarray(resized)}
