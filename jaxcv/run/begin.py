"""How a run begins: its initial weights, and what is written and plotted before the first step."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcv.data.report import inspect, lines
from jaxcv.experiment import Experiment
from jaxcv.mesh import local_rows, put
from jaxcv.models.weights import check_rows, summarize
from jaxcv.optim.parameters import digest, matches
from jaxcv.prng import stream
from jaxcv.report import figures
from jaxcv.run.pretrained import fit_weights, from_scratch
from jaxcv.run.run import Run
from jaxcv.settings import without_effect
from jaxcv.step import TrainState
from jaxcv.store.folder import Folder
from jaxcv.store.manifest import identity, manifest
from jaxcv.store.processes import is_first
from jaxcv.task import Tree


def named_weights(run: Run) -> Tree | None:
    """The weights that config.init_from names, None if it names none."""
    general = run.experiment.settings.general
    if not general.init_from:
        return None
    weights, rows = fit_weights(run.experiment, general.init_from, general.init_allow, general.init_fresh)
    remedy = " List what may be missing or unused in config.init_allow, as in ('fc.*',)."
    check_rows(rows, source=f"The weights in {general.init_from}", remedy=remedy)
    print(f"Weights of {general.init_from}: {summarize(rows)}")
    return weights


def begin(run: Run, weights: Tree | None) -> TrainState:
    """The state at step 0. Writes config and manifest."""
    experiment = run.experiment
    if is_first():
        report = data_report(experiment)
        print("\n".join(lines(report)))
    state = initial_state(experiment, weights)
    if scratch := "" if weights else from_scratch(run.config):
        print(f"This run begins {scratch}.")
    if frozen := frozen_digest(run.experiment, state):
        print(f"Frozen parameters: sha256 {frozen}")
    if is_first():
        run.folder.write_config(json.loads(run.config.to_json()))
        facts = {"notes": notes(run), "frozen_sha256": frozen, "from_scratch": scratch, "data_report": report}
        run.folder.write_manifest({**describe(experiment, run.folder), **facts})
    return state


def initial_state(experiment: Experiment, weights: Tree | None) -> TrainState:
    """The state at step 0: the seed's, with `weights` where they are given."""
    rows = len(local_rows(experiment.mesh, experiment.settings.train.batch_size))
    batch = {name: np.zeros((rows, *x.shape[1:]), x.dtype) for name, x in experiment.compiled.batch.items()}
    return experiment.compiled.init(put(experiment.mesh, batch), weights)  # of a batch, only the shapes matter


def data_report(experiment: Experiment) -> dict:
    """What is in the splits, see `jaxcv.data.report`."""
    return inspect(experiment.data.sources)


def frozen_digest(experiment: Experiment, state: TrainState) -> str:
    """The digest of the parameters that config.optim.freeze names; empty where nothing is frozen."""
    patterns = experiment.settings.optim.freeze
    return digest(state.params, matches(state.params, patterns)) if patterns else ""


def notes(run: Run) -> list[str]:
    """What a user should know before the first step, a sentence each."""
    return [*run.experiment.notes, *without_effect(run.config, run.chosen)]


def describe(experiment: Experiment, folder: Folder) -> dict:
    """The manifest of a run that begins or resumes now."""
    devices = [f"{device.platform}:{device.device_kind}" for device in jax.devices()]
    seed, data = experiment.settings.general.seed, fingerprints(experiment)
    facts = manifest(seed=seed, data=data, devices=devices, workdir=folder.path)
    info = experiment.info._asdict()  # makes the network usable without the data
    return {**facts, "info": info, "steps_per_epoch": experiment.data.steps_per_epoch}


def fingerprints(experiment: Experiment) -> dict[str, str]:
    """Split -> the fingerprint of its data."""
    return {split: source.info.fingerprint for split, source in experiment.data.sources.items()}


def identity_of(config: ConfigDict, experiment: Experiment) -> str:
    """The identity of the run of `config`, see `jaxcv.store.manifest`."""
    return identity(json.loads(config.to_json()), fingerprints(experiment))


def pictures(experiment: Experiment, batch: dict, *, steps: int) -> dict[str, np.ndarray]:
    """Images (b, h, w, c) by title: those of `batch`, and what the network sees of them in each of the first `steps`
    steps; masks, where the data set has them, in their colours."""
    info = experiment.info

    def picture(x: np.ndarray) -> np.ndarray:
        return figures.paint(x, np.array(info.palette), ignore=info.ignore) if x.ndim == 3 else x

    rows = {"original": batch["image"]} | ({"original mask": picture(batch["mask"])} if info.palette else {})
    for step in range(steps):
        for name, x in augmented(experiment, step, batch).items():
            rows[f"{name} {step}" if steps > 1 else name] = picture(x)
    return rows


def augmented(experiment: Experiment, step: int, batch: dict) -> dict[str, np.ndarray]:
    """What the network sees of `batch` at a step: "augmented", or a name for each view, images float in [0, 1] again;
    of a data set of masks also "augmented mask", int (b, h, w)."""
    if experiment.task.augment is None:
        return {}
    info = experiment.info
    key = jax.random.fold_in(stream(jax.random.key(experiment.settings.general.seed), "train"), step)
    views = jax.device_get(jax.jit(experiment.task.augment)(key, batch))
    images = {name: view for name, view in views.items() if view.ndim == 4 and view.dtype.kind == "f"}
    images = {"augmented" if name == "image" else name: view for name, view in images.items()}
    # what has other channels than the data, a grey image of colours, is not normalised
    images = {
        name: view * info.std + info.mean if view.shape[-1] == len(info.std) else view for name, view in images.items()
    }
    return images | ({"augmented mask": views["mask"]} if info.palette and "mask" in views else {})


def plot_start(run: Run) -> None:
    """Plots what the network sees in the first step, and the schedules."""
    with run.experiment.data.open_batches(start=0) as batches:
        batch = {name: value[:8] for name, value in next(batches).items()}
    figures.image_rows(pictures(run.experiment, batch, steps=1), run.folder.figures / "views.png")
    step = jnp.arange(run.experiment.data.total_steps + 1)
    curves = {name: (step, jax.vmap(schedule)(step)) for name, schedule in run.experiment.schedules.items()}
    figures.schedules(jax.device_get(curves), run.folder.figures / "schedules.png")
