"""Makes image_folder.npz: torchvision's Resize (bicubic) and CenterCrop of random pictures."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

register_fake = torch.library.register_fake
torch.library.register_fake = lambda name, *a, **k: (
    (lambda f: f) if name.startswith("torchvision::") else register_fake(name, *a, **k)
)
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize  # noqa: E402

SIZES = ((53, 37), (30, 41), (9, 8), (16, 16))  # w, h

if __name__ == "__main__":
    transform = Compose([Resize(16, interpolation=InterpolationMode.BICUBIC), CenterCrop(16)])
    canvases = {}
    for w, h in SIZES:
        pixels = np.random.default_rng(w * h).integers(0, 256, (h, w, 3), dtype=np.uint8)
        canvases[f"{w}x{h}"] = np.asarray(transform(Image.fromarray(pixels)))
    np.savez(Path(__file__).parent / "image_folder.npz", **canvases)
