"""How a run begins: its weights, what is written and drawn before the first step."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.experiment import Experiment, augmented, open_batches, pretrained
from jaxcv.mesh import put
from jaxcv.models.weights import check_rows, summarize
from jaxcv.optim.parameters import digest, matches
from jaxcv.report import figures
from jaxcv.report.masks import paint
from jaxcv.step import TrainState
from jaxcv.store.log import write_json
from jaxcv.store.manifest import manifest
from jaxcv.store.processes import is_first


def named_weights(config: Any, experiment: Experiment) -> Any:
    """The weights that config.init_from names, None if it names none."""
    if not config.init_from:
        return None
    weights, rows = pretrained(experiment, config.init_from, config.init_allow, config.get("init_fresh", ()))
    remedy = " What may be missing or unused is named in config.init_allow, as in ('fc.*',)."
    check_rows(rows, source=f"The weights in {config.init_from}", remedy=remedy)
    print(f"Weights of {config.init_from}: {summarize(rows)}")
    return weights


def begin(config: Any, workdir: Path, experiment: Experiment, weights: Any) -> TrainState:
    """The state at step 0; what is known before it is written and drawn."""
    with open_batches(experiment, config, start=0) as batches:
        batch = next(batches)
    state = experiment.init(put(experiment.mesh, batch), weights)
    if frozen := frozen_digest(config, state):
        print(f"Frozen parameters: sha256 {frozen}")
    if is_first():
        write_json(workdir / "config.json", json.loads(config.to_json()))
        write_json(workdir / "manifest.json", {**facts(config, experiment, workdir), "frozen_sha256": frozen})
        _draw_start(workdir, config.seed, experiment, batch)
    return state


def frozen_digest(config: Any, state: TrainState) -> str:
    """The digest of the parameters that config.optim.freeze names; empty if it names none."""
    return digest(state.params, matches(state.params, config.optim.freeze)) if config.optim.freeze else ""


def facts(config: Any, experiment: Experiment, workdir: Path) -> dict:
    """What manifest.json holds of a run that starts, or goes on, now."""
    fingerprints = {split: source.info.fingerprint for split, source in experiment.sources.items()}
    devices = [f"{device.platform}:{device.device_kind}" for device in jax.devices()]
    facts = manifest(seed=config.seed, data=fingerprints, devices=devices, workdir=workdir)
    info = experiment.sources["train"].info._asdict()  # with it the network can be used without the data
    return {**facts, "info": info, "steps_per_epoch": experiment.steps_per_epoch}


def pictures(experiment: Experiment, seed: int, batch: dict, *, draws: int) -> dict[str, np.ndarray]:
    """Images (b, h, w, c) by title: those of `batch`, and what the network sees of them at so many steps from the first
    on; masks, where the data set has them, in their colours."""
    info = experiment.sources["train"].info

    def picture(x: np.ndarray) -> np.ndarray:
        return paint(x, np.array(info.palette), ignore=info.ignore) if x.ndim == 3 else x

    rows = {"original": batch["image"]} | ({"original mask": picture(batch["mask"])} if info.palette else {})
    for step in range(draws):
        for name, x in augmented(experiment, seed, step, batch).items():
            rows[f"{name} {step}" if draws > 1 else name] = picture(x)
    return rows


def _draw_start(workdir: Path, seed: int, experiment: Experiment, batch: dict) -> None:
    """Draws what is known before the first step: what the network will see in it, and the schedules."""
    batch = {name: value[:8] for name, value in batch.items()}
    figures.image_rows(pictures(experiment, seed, batch, draws=1), workdir / "figures" / "views.png")
    step = jnp.arange(experiment.total_steps + 1)
    curves = {name: (step, jax.vmap(schedule)(step)) for name, schedule in experiment.schedules.items()}
    figures.schedules(jax.device_get(curves), workdir / "figures" / "schedules.png")
