"""Frozen features of a split, and how they are laid out on the devices."""

import functools
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcv.mesh import put, put_whole, replicated
from jaxcv.task import Batch, Predict, Tree

EXACT = jax.lax.Precision.HIGHEST  # no TensorFloat-32: ranks and votes must not depend on the accelerator


class Features(NamedTuple):
    """A split's frozen features on the host."""

    feature: np.ndarray  # float32 n d
    label: np.ndarray  # int32 n


def fetch(results: Iterable[Tree]) -> Iterator[Tree]:
    """Results on the host, each fetched while the next is computed."""
    for result, _ in pairwise(chain(results, [None])):
        yield jax.device_get(result)


def make_extract(predict: Predict, mesh: Mesh) -> Callable[[Tree, Tree, Iterable[dict]], Features]:
    """Returns extract(params, model_state, batches): `predict`'s "feature" of every valid row, in order."""

    @functools.partial(jax.jit, out_shardings=replicated(mesh))
    def forward(params: Tree, model_state: Tree, batch: Batch) -> tuple:
        return predict(params, model_state, batch["image"])["feature"], batch["label"], batch["valid"]

    def extract(params: Tree, model_state: Tree, batches: Iterable[dict]) -> Features:
        rows = fetch(forward(params, model_state, put(mesh, batch)) for batch in batches)
        feature, label, valid = (np.concatenate(column) for column in zip(*rows))
        return Features(feature[valid > 0], label[valid > 0])

    return extract


def on_mesh(mesh: Mesh, rows: np.ndarray, labels: np.ndarray, *, chunk: int = 0) -> tuple[jax.Array, jax.Array]:
    """Rows and labels split over the mesh, padded with rows of label -1: (n, d), or with `chunk` (chunks, chunk, d)."""
    unit = -(-(chunk or 1) // mesh.size) * mesh.size
    missing = -len(labels) % unit
    rows = np.pad(rows.astype(np.float32), ((0, missing), (0, 0)))
    labels = np.pad(labels, (0, missing), constant_values=-1)
    spec = PartitionSpec("data")
    if chunk:
        rows, labels = rows.reshape(-1, unit, rows.shape[1]), labels.reshape(-1, unit)
        spec = PartitionSpec(None, "data")
    return put_whole(NamedSharding(mesh, spec), (rows, labels))
