"""One mesh over all devices with one axis, `data`: the state is on every device, a batch is split over them."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxcv.errors import ConfigError


def make_mesh() -> Mesh:
    """A mesh over the devices of all processes."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The first axis is spread over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def local_rows(mesh: Mesh, batch_size: int) -> np.ndarray:
    """Which rows of a global batch this process's devices hold: int64, ascending; all if it is the only process."""
    spans = split(mesh).addressable_devices_indices_map((batch_size,)).values()
    return np.sort(np.concatenate([np.arange(batch_size)[span] for span in spans]))


def put(mesh: Mesh, batch: dict) -> dict:
    """This process's rows of a batch (numpy arrays), see `local_rows`, as global arrays, split over the devices."""
    return {name: jax.make_array_from_process_local_data(split(mesh), rows) for name, rows in batch.items()}


def put_whole(sharding: NamedSharding, arrays: Any) -> Any:
    """Numpy arrays that every process has whole, as global arrays with that layout."""
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x, x.shape), arrays)


def check_batch_size(mesh: Mesh, batch_size: int, *, key: str, parts: int = 1) -> None:
    """Raises ConfigError unless the devices, times `parts`, divide `batch_size` (the value of config key `key`)."""
    share = mesh.size * parts
    if batch_size % share:
        devices = f"{mesh.size} device{'s' * (mesh.size > 1)}"
        what = f"{devices} x {parts} accumulated parts" if parts > 1 else devices
        near = max(share, round(batch_size / share) * share)
        raise ConfigError(
            f"config.{key}={batch_size} cannot be split over {what}; use a multiple of {share}, such as {near}."
        )
