"""k-nearest-neighbour classification of frozen features, exact over whole splits."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxcv.evals.evaluator import EvalSetup, Evaluator, needs_classes, random_class, score_features
from jaxcv.evals.features import EXACT, Features, on_mesh
from jaxcv.mesh import put_whole, replicated
from jaxcv.ranges import Positive, PositiveCount

METRICS = {"knn_accuracy": random_class}


def make(setup: EvalSetup, *, k: PositiveCount = 200, temperature: Positive = 0.1) -> Evaluator:
    """`knn_accuracy` of every split; the neighbours are in the split train.  k, temperature: as of `make_knn`."""
    num_classes = needs_classes(setup)

    def fit(train: Features) -> Callable[[Features], float]:
        return make_knn(train, mesh=setup.mesh, num_classes=num_classes, k=k, temperature=temperature)

    return score_features("knn_accuracy", fit)


def make_knn(
    bank: Features,
    *,
    mesh: Mesh,
    num_classes: int,
    k: PositiveCount = 200,
    temperature: Positive = 0.1,
    batch_size: int = 256,
) -> Callable[[Features], float]:
    """Returns accuracy(query), in [0, 1]: the share of queries whose class wins the vote of the `k` most similar rows.

    Similarity is the cosine, a vote weighs exp(similarity / temperature) (instance discrimination, arXiv 1805.01978,
    sec. 3.4). Ties go to the lower index. The bank is split over the mesh; a larger k than its rows means all of them.
    """
    rows, labels = on_mesh(mesh, _unit(bank.feature), bank.label)
    k = min(k, len(bank.label))

    def accuracy(query: Features) -> float:
        correct = 0
        for start in range(0, len(query.label), batch_size):
            feature = _unit(query.feature[start : start + batch_size])
            label = query.label[start : start + batch_size]
            missing = batch_size - len(label)
            feature, label = np.pad(feature, ((0, missing), (0, 0))), np.pad(label, (0, missing), constant_values=-1)
            feature, label = put_whole(replicated(mesh), (feature, label))
            correct += int(jax.device_get(_knn_correct(rows, labels, feature, label, temperature, k, num_classes)))
        return correct / len(query.label)

    return accuracy


def _unit(feature: np.ndarray) -> np.ndarray:
    return feature / np.linalg.norm(feature, axis=1, keepdims=True).clip(1e-12)


@jax.jit(static_argnames=("k", "num_classes"))
def _knn_correct(bank, bank_label, query, label, temperature, k, num_classes):
    similarity = jnp.matmul(query, bank.T, precision=EXACT)  # b n
    similarity = jnp.where(bank_label[None] >= 0, similarity, -jnp.inf)
    value, index = jax.lax.top_k(similarity, k)
    weight = jnp.exp(value / temperature)
    votes = (jax.nn.one_hot(bank_label[index], num_classes) * weight[..., None]).sum(1)  # b c
    return ((votes.argmax(1) == label) & (label >= 0)).sum()
