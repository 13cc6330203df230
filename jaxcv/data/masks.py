"""Mask files: the label of each pixel, and how a mask lies on its image."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from jaxcv.data.images import open_image
from jaxcv.errors import DataError

FORMATS = {".png": "PNG", ".gif": "GIF", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}  # all without loss
OTHER = 256  # the value of a pixel that has no label of 8 bits, or whose colour is not in `colors`
ORIENTATION = 0x0112  # the EXIF tag
_TURN = {  # what makes stored pixels upright, where the tag exchanges width and height
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SAMPLE = 64  # masks of only 0 and 255 after which a data set is taken to be black and white


def open_mask(path: Path) -> Image.Image:
    """The mask at `path`, whole, turned as its own EXIF tag says. DataError names the file."""

    def check_one_frame(image: Image.Image) -> None:
        if (frames := getattr(image, "n_frames", 1)) > 1:
            raise ValueError(f"it has {frames} frames, a mask has one")

    return open_image(path, (FORMATS[path.suffix.lower()],), check=check_one_frame)


def read_values(path: Path) -> np.ndarray:
    """The mask of labels at `path` as int32 (h, w): grey levels of 1, 8 or 16 bits, or indices of a palette."""
    image = open_mask(path)
    if image.mode == "P" and FORMATS[path.suffix.lower()] == "GIF":
        # Programs that write GIF number the colours anew; what was a grey level stays one.
        colors = np.array(image.getpalette("RGB")).reshape(-1, 3)[np.asarray(image)]
        if (colors == colors[..., :1]).all():
            return colors[..., 0].astype(np.int32)
    if image.mode in ("L", "P", "1", "I") or image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.int32)
    found = image.convert("RGB").getcolors(8)
    has = f" (this mask has {', '.join(str(color) for _, color in sorted(found, key=lambda x: x[1]))})" if found else ""
    raise DataError(
        f"{path} has the mode {image.mode}; a mask of labels has L or P, for colours set data.colors, one for each "
        f"of data.classes{has}"
    )


def read_mask(path: Path, table: np.ndarray, *, colors: Sequence[Sequence[int]] = (), threshold: int = 0) -> np.ndarray:
    """The mask at `path` as labels uint8 (h, w). DataError for the first pixel without a label.

    table: int (257,), the label of each value, -1 where there is none. The value of a pixel is its grey level or index
    in a mask of labels; in a mask of colours it is the index of its colour in `colors`, or OTHER.  threshold: before
    colours are compared, channels become 255 from this value on and 0 below it; 0: they stay as they are.
    """
    if colors:
        pixels = np.asarray(open_mask(path).convert("RGB"))
        pixels = np.where(pixels >= threshold, 255, 0) if threshold else pixels
        code = pixels @ np.array([1 << 16, 1 << 8, 1])
        values = np.full(code.shape, OTHER)
        for value, (r, g, b) in enumerate(colors):
            values[code == (r << 16 | g << 8 | b)] = value
    else:
        pixels = read_values(path)
        values = np.where((pixels < 0) | (pixels > 255), OTHER, pixels)
    labels = table[values]
    if labels.min() < 0:
        y, x = np.argwhere(labels < 0)[0]
        what = f"{'colour' if colors else 'label'} {pixels[y, x].tolist()} at x={x}, y={y}"
        allowed = "data.colors" if colors else _spans(np.flatnonzero(table >= 0))
        also = "" if colors else ", data.remap the class of each label, data.classes how many there are"
        raise DataError(
            f"{path} has the {what}, which is none of {allowed}; data.outside sets what such pixels become{also}"
        )
    return labels.astype(np.uint8)


def black_and_white(paths: Iterable[Path]) -> bool:
    """Whether the masks at `paths` have no values but 0 and 255, and have 255; after 64 with it, no more are read."""
    with_255 = 0
    for path in paths:
        values = read_values(path)
        if ((values != 0) & (values != 255)).any():
            return False
        with_255 += bool(values.any())
        if with_255 == _SAMPLE:
            break
    return with_255 > 0


def fit(mask: np.ndarray, image: Path, size: tuple[int, int], *, says: str) -> np.ndarray:
    """`mask` uint8 (h, w) as it lies on the upright `image`, whose upright `size` is (width, height).

    A mask of a photo that its EXIF tag turns may be of the stored or of the upright pixels: where the sizes tell, it is
    turned too. DataError names the image if they do not tell, and where they do not fit: `says` begins
    what the mask says.
    """
    turn = orientation(image)
    has = mask.shape[::-1]
    if turn != 1 and (turn not in _TURN or size[0] == size[1]) and has == size:
        raise DataError(
            f"{image} is turned by its EXIF tag, and its mask may be of the photo before or after that; save the "
            "photo upright and without the tag"
        )
    if turn in _TURN and has == size[::-1]:
        return np.asarray(Image.fromarray(mask).transpose(_TURN[turn]))
    if has != size:
        raise DataError(f"{image} has {size[0]}x{size[1]} pixels, but {says} {has[0]}x{has[1]}")
    return mask


def orientation(image: Path) -> int:
    """How the EXIF tag of `image` turns it: 1 not at all, 2 to 8."""
    with Image.open(image) as header:
        value = header.getexif().get(ORIENTATION, 1)
    return value if value in range(2, 9) else 1


def _spans(labels: np.ndarray) -> str:
    """Ascending numbers as "0..10, 255"."""
    parts = np.split(labels, np.flatnonzero(np.diff(labels) > 1) + 1)
    return ", ".join(f"{part[0]}..{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts)
