"""A linear classifier on frozen features, exact over whole splits."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from jaxcv.evals.evaluator import EvalSetup, Evaluator, needs_classes, random_class, score_features
from jaxcv.evals.features import EXACT, Features, on_mesh
from jaxcv.ranges import PositiveCount

METRICS = {"probe_accuracy": random_class}
L2_GRID = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # strong to weak: each fit starts from the last


def make(setup: EvalSetup, *, iterations: PositiveCount = 100) -> Evaluator:
    """`probe_accuracy` of every split by a classifier fitted to the split train.  iterations: as of `make_linear`."""
    num_classes = needs_classes(setup)

    def fit(train: Features) -> Callable[[Features], float]:
        return make_linear(train, mesh=setup.mesh, num_classes=num_classes, iterations=iterations)

    return score_features("probe_accuracy", fit)


def make_linear(
    train: Features, *, mesh: Mesh, num_classes: int, iterations: PositiveCount = 100, chunk: int = 4096
) -> Callable[[Features], float]:
    """Fits a logistic regression on the standardised features of `train`; returns its accuracy(test), in [0, 1].

    At most `iterations` steps of L-BFGS on the mean cross-entropy plus l2 / 2 |W|^2, over all rows, `chunk` at a time.
    The l2 of L2_GRID is chosen on every tenth row, by fits to the other rows; the last fit is to all of `train`.
    """
    mean, std = train.feature.mean(0), train.feature.std(0) + 1e-6
    rows, labels = on_mesh(mesh, (train.feature - mean) / std, train.label, chunk=min(chunk, len(train.label)))
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
        rows, labels = on_mesh(mesh, (test.feature - mean) / std, test.label)
        return int(jax.device_get(_linear_correct(weights, rows, labels, labels >= 0))) / len(test.label)

    return accuracy


def init_linear(features: int, num_classes: int) -> dict[str, jax.Array]:
    """The linear classifier at zero: {"kernel": (features, num_classes), "bias": (num_classes,)}, float32."""
    return {"kernel": jnp.zeros((features, num_classes)), "bias": jnp.zeros(num_classes)}


def _logits(weights: dict, rows: jax.Array) -> jax.Array:
    return jnp.matmul(rows, weights["kernel"], precision=EXACT) + jnp.expand_dims(weights["bias"], range(rows.ndim - 1))


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
