"""Losses: values per example or per pixel, unreduced.

A pixel's label that is not in 0 .. n - 1 is void: the pixel belongs to no class. To ignore a class, relabel it first.
"""

import jax
import jax.numpy as jnp
import optax


def cosine_distance(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """BYOL's regression loss ||p/|p| - t/|t|||^2 = 2 - 2 cos(p, t) (arXiv 2006.07733, eq. 2).

    float (..., d), (..., d) -> (...), in [0, 4].
    """
    return 2 - 2 * optax.cosine_similarity(prediction, target, epsilon=1e-6)


def smooth(target: jax.Array, share: float) -> jax.Array:
    """(1 - share) target + share / c, for targets (..., c): label smoothing (arXiv 1512.00567, sec. 7)."""
    return (1 - share) * target + share / target.shape[-1]


def softmax_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """-sum_c target_c log softmax(logits)_c: float (..., n), (..., c) -> (...), for c <= n.

    A network may have more outputs than there are classes; the target of the others is 0.
    """
    extra = logits.shape[-1] - target.shape[-1]
    target = jnp.pad(target, [(0, 0)] * (target.ndim - 1) + [(0, extra)])
    return optax.softmax_cross_entropy(logits, target)


def sigmoid_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Binary cross-entropy, summed over the classes: float (..., c), (..., c) -> (...).

    A single logit for two classes is that of the second one.
    """
    target = target[..., 1:] if logits.shape[-1] == 1 else target
    return optax.sigmoid_binary_cross_entropy(logits, target).sum(-1)


def pixel_cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """-log softmax(logits)_label: float (..., n), int (...) -> (...); where the label is void, 0 without gradient."""
    return softmax_cross_entropy(logits, jax.nn.one_hot(label, logits.shape[-1]))


def pixel_binary_cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Binary cross-entropy of each class against the rest, mean over the classes: float (..., n), int (...) -> (...).

    The mean over all pixels is torch's BCEWithLogitsLoss of one-hot targets, as in pochih/FCN-pytorch, where a void
    pixel is a negative of every class. `pixel_weight` leaves void pixels out.
    """
    return optax.sigmoid_binary_cross_entropy(logits, jax.nn.one_hot(label, logits.shape[-1])).mean(-1)


def pixel_weight(label: jax.Array, class_weight: jax.Array) -> jax.Array:
    """The weight of each label's class, 0 for void: int (...), float (n,) -> float (...)."""
    one_hot = jax.nn.one_hot(label, len(class_weight))
    return jnp.matmul(one_hot, class_weight, precision=jax.lax.Precision.HIGHEST)


def weighted_mean(loss: jax.Array, weight: jax.Array) -> jax.Array:
    """sum(weight loss) / sum(weight) of two arrays of the same shape; 0 if all weights are 0.

    With `pixel_cross_entropy` and `pixel_weight` it is torch's CrossEntropyLoss(class_weight, ignore_index).
    """
    total = weight.sum()
    return (weight * loss).sum() / jnp.where(total > 0, total, 1)


def poly1(cross_entropy: jax.Array, *, epsilon: float = 1.0) -> jax.Array:
    """ce + epsilon (1 - exp(-ce)), of any shape: Poly-1 (arXiv 2204.12511).

    If ce is the cross-entropy of a pixel, exp(-ce) is the probability of its class. Public code with epsilon 2 applies
    this to the mean of a batch instead, which is another loss.
    """
    return cross_entropy - epsilon * jnp.expm1(-cross_entropy)


def focal(cross_entropy: jax.Array, *, gamma: float = 2.0) -> jax.Array:
    """(1 - exp(-ce))^gamma ce, of any shape: the focal loss (arXiv 1708.02002, eq. 4). gamma >= 0; with 0 it is ce.

    The paper's alpha is a weight of classes: see `pixel_weight`.
    """
    error = jnp.maximum(-jnp.expm1(-cross_entropy), 1e-12)  # at 0, a power below 1 has no gradient
    return error**gamma * cross_entropy


def overlap(probability: jax.Array, label: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums over the pixels of each image, of p y and of p + y, for `jaccard` and `dice`; y is the one-hot label.

    float (b, h, w, n), int (b, h, w), float (b, h, w), as from `pixel_weight` -> two float (b, n). To score a batch as
    one image, add up the rows of both first.
    """
    target = jax.nn.one_hot(label, probability.shape[-1])
    weight = weight[..., None]
    return (weight * probability * target).sum((1, 2)), (weight * (probability + target)).sum((1, 2))


def jaccard(both: jax.Array, total: jax.Array, *, smooth: float) -> jax.Array:
    """1 - (both + smooth) / (total - both + smooth), in [0, 1], of `overlap`: soft IoU (Rahman & Wang 2016)."""
    return 1 - (both + smooth) / (total - both + smooth)


def dice(both: jax.Array, total: jax.Array, *, smooth: float) -> jax.Array:
    """1 - (2 both + smooth) / (total + smooth), in [0, 1], of `overlap`: soft Dice (arXiv 1606.04797, unsquared)."""
    return 1 - (2 * both + smooth) / (total + smooth)
