"""Operations on images for augmentation: pure functions of one image that jit and vmap.

`op(image, ...)` and `random_op(key, image, ...)` take an image (h, w, c), float32 in [0, 1], and return one in float32,
if they do not say otherwise. Options are keywords; these mean the same everywhere:

    size                         of the result: a side, or (height, width), in pixels
    p                            the probability that the image is changed
    fill                         the value outside the image: a number, or one for each channel
    area, ratio, sigma, factor   ranges (low, high) with 0 < low <= high; an area is at most 1, the whole image

UserError: an option has an impossible value.
"""
