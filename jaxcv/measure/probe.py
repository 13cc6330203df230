"""What frozen features know: a nearest-neighbour vote and a linear classifier, exact over whole sets."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcv.mesh import put, put_whole, replicated

EXACT = jax.lax.Precision.HIGHEST  # no TensorFloat-32: ranks and votes must not depend on the accelerator
L2_GRID = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # strong to weak, so that each fit starts from the last


class Features(NamedTuple):
    """A split's frozen features on the host."""

    feature: np.ndarray  # float32 n d
    label: np.ndarray  # int32 n


def make_extract(predict: Callable, mesh: Mesh) -> Callable:
    """Returns extract(params, model_state, batches) -> Features: `predict`'s "feature" of every valid row, in order."""
    forward = jax.jit(
        lambda params, model_state, batch: (
            predict(params, model_state, batch["image"])["feature"],
            batch["label"],
            batch["valid"],
        ),
        out_shardings=replicated(mesh),
    )

    def extract(params: Any, model_state: Any, batches: Iterable[dict]) -> Features:
        rows, pending = [], None
        for batch in batches:
            done, pending = pending, forward(params, model_state, put(mesh, batch))
            if done is not None:  # fetched while the next batch is at work
                rows.append(jax.device_get(done))
        rows.append(jax.device_get(pending))
        feature, label, valid = (np.concatenate(column) for column in zip(*rows))
        return Features(feature[valid > 0], label[valid > 0])

    return extract


def make_knn(
    bank: Features,
    *,
    mesh: Mesh,
    num_classes: int,
    k: int = 200,
    temperature: float = 0.1,
    batch_size: int = 256,
) -> Callable[[Features], float]:
    """Returns accuracy(query), in [0, 1]: the share of queries whose class wins the vote of the `k` most similar rows.

    Similarity is the cosine, a vote weighs exp(similarity / temperature) (instance discrimination, arXiv 1805.01978,
    sec. 3.4). Ties go to the lower index. The bank lies spread over the mesh; its rows are all used if k is more.
    """
    rows, labels = _on_mesh(mesh, _unit(bank.feature), bank.label)
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


def make_linear(
    train: Features, *, mesh: Mesh, num_classes: int, iterations: int = 100, chunk: int = 4096
) -> Callable[[Features], float]:
    """Fits a logistic regression on the standardised features of `train`; returns its accuracy(test), in [0, 1].

    L-BFGS on the mean cross-entropy plus l2 / 2 |W|^2, full batches of `chunk` rows at a time. The l2 of L2_GRID is
    chosen on every tenth row of `train`, which the fits it is chosen from do not see; the last fit sees all of `train`.
    """
    mean, std = train.feature.mean(0), train.feature.std(0) + 1e-6
    rows, labels = _on_mesh(mesh, (train.feature - mean) / std, train.label, chunk=min(chunk, len(train.label)))
    index = jnp.arange(labels.size).reshape(labels.shape)
    held_out = (index % 10 == 9) & (labels >= 0)
    weights = init_linear(train.feature.shape[1], num_classes)
    fits, scores = [], []
    for l2 in L2_GRID:
        weights = _fit(weights, rows, labels, (labels >= 0) & ~held_out, l2, iterations)
        fits.append(weights)
        scores.append(int(jax.device_get(_linear_correct(weights, rows, labels, held_out))))
    best = int(np.argmax(scores))
    weights = _fit(fits[best], rows, labels, labels >= 0, L2_GRID[best], iterations)

    def accuracy(test: Features) -> float:
        rows, labels = _on_mesh(mesh, (test.feature - mean) / std, test.label)
        return int(jax.device_get(_linear_correct(weights, rows, labels, labels >= 0))) / len(test.label)

    return accuracy


def init_linear(features: int, num_classes: int) -> dict[str, jax.Array]:
    """The linear classifier at zero: {"kernel": (features, num_classes), "bias": (num_classes,)}, float32."""
    return {"kernel": jnp.zeros((features, num_classes)), "bias": jnp.zeros(num_classes)}


def _on_mesh(mesh: Mesh, rows: np.ndarray, labels: np.ndarray, *, chunk: int = 0) -> tuple[jax.Array, jax.Array]:
    """Rows and labels on the mesh, padded with rows of label -1: (n, d) or (chunks, chunk, d)."""
    unit = -(-(chunk or 1) // mesh.size) * mesh.size
    missing = -len(labels) % unit
    rows = np.pad(rows.astype(np.float32), ((0, missing), (0, 0)))
    labels = np.pad(labels, (0, missing), constant_values=-1)
    spec = PartitionSpec("data")
    if chunk:
        rows, labels = rows.reshape(-1, unit, rows.shape[1]), labels.reshape(-1, unit)
        spec = PartitionSpec(None, "data")
    return put_whole(NamedSharding(mesh, spec), (rows, labels))


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


def _logits(weights: dict, rows: jax.Array) -> jax.Array:
    return jnp.matmul(rows, weights["kernel"], precision=EXACT) + weights["bias"].reshape(
        (1,) * (rows.ndim - 1) + (-1,)
    )


@jax.jit
def _linear_correct(weights, rows, labels, counted):
    return ((_logits(weights, rows).argmax(-1) == labels) & counted).sum()


@jax.jit(static_argnames="iterations")
def _fit(weights, rows, labels, counted, l2, iterations):
    """At most `iterations` steps of L-BFGS from `weights`, fewer where the gradient has vanished."""

    def objective(weights: dict) -> jax.Array:
        @jax.checkpoint  # logits of one chunk at a time, also in the backward pass
        def add(total: jax.Array, chunk: tuple) -> tuple:
            row, label, count = chunk
            loss = optax.softmax_cross_entropy_with_integer_labels(_logits(weights, row), label, where=count)
            return total + loss.sum(), None

        total, _ = jax.lax.scan(add, jnp.zeros(()), (rows, labels.clip(0), counted))
        return total / counted.sum() + l2 / 2 * jnp.vdot(weights["kernel"], weights["kernel"])

    optimizer = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(objective)

    def unfinished(carry: tuple) -> jax.Array:
        _, state = carry
        count, grads = optax.tree.get(state, "count"), optax.tree.get(state, "grad")
        return (count == 0) | ((count < iterations) & (optax.tree.norm(grads) > 1e-5))

    def step(carry: tuple) -> tuple:
        weights, state = carry
        value, grads = value_and_grad(weights, state=state)
        updates, state = optimizer.update(grads, state, weights, value=value, grad=grads, value_fn=objective)
        return optax.apply_updates(weights, updates), state

    return jax.lax.while_loop(unfinished, step, (weights, optimizer.init(weights)))[0]
