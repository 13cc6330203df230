"""A run's network, from its workdir alone."""

from pathlib import Path

import jax
import numpy as np

from jaxcv.errors import UserError
from jaxcv.mesh import make_mesh, put, replicated
from jaxcv.predict import Trained
from jaxcv.run.pretrained import read_config, read_info, read_state, read_task
from jaxcv.store.folder import Folder
from jaxcv.xla import prepare


def load_run(workdir: str | Path) -> Trained:
    """The network of the run in `workdir`, at the step that it reported, or else the latest.

    Raises UserError if there is no run, or its task has no `predict`.
    """
    folder = Folder(workdir)
    config, task = read_config(folder), read_task(folder)
    prepare(deterministic=config.get("deterministic", False), cache=config.get("compilation_cache", True))
    mesh = make_mesh()
    if task.predict is None:
        raise UserError(f"the run in {folder} predicts nothing: its task has no `predict`.")
    result = folder.read_result()
    state = read_state(folder, result["reported_step"] if result else None)
    params, model_state = jax.device_put(state, replicated(mesh))
    forward = jax.jit(task.predict, out_shardings=replicated(mesh))

    def predict(image: np.ndarray) -> dict[str, np.ndarray]:
        return jax.device_get(forward(params, model_state, put(mesh, {"image": image})["image"]))

    return Trained(read_info(folder), mesh.size, config.eval.get("tile", 0), predict, task.write)
