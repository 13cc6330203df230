"""Makes flowers17.npz: OpenCV's cv2.resize of random trimaps, and where it has exactly the flower's colour."""

from pathlib import Path

import cv2
import numpy as np

SIZES = ((130, 90), (41, 37), (60, 50))  # w, h
COLORS = ((0, 0, 0), (128, 0, 0), (128, 128, 0), (128, 128, 128))

if __name__ == "__main__":
    flowers = {}
    for w, h in SIZES:
        places = np.random.default_rng(w * h).integers(0, 4, (h // 8 + 1, w // 8 + 1))
        trimap = np.array(COLORS, np.uint8)[places.repeat(8, 0).repeat(8, 1)[:h, :w]]
        flowers[f"{w}x{h}"] = (cv2.resize(trimap, (50, 40)) == (128, 0, 0)).all(-1)
    np.savez(Path(__file__).parent / "flowers17.npz", **flowers)
