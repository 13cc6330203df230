"""What a config describes, built. With train.py the only file that reads the whole config."""

from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxcv.config import call, load, require, steps, without
from jaxcv.data.pipeline import train_batches
from jaxcv.data.source import first
from jaxcv.errors import ConfigError
from jaxcv.mesh import check_batch_size, make_mesh, replicated
from jaxcv.optim import make_optimizer, make_schedule
from jaxcv.step import Task, TrainState, make_init, make_update

SPLITS = ("train", "val", "test")
KEYS = (
    *("seed", "data.name", "data.workers", "data.limit", "augment", "model.name", "task.name"),
    *("optim.name", "optim.schedule", "optim.lr", "optim.lr_batch_size"),
    *("optim.weight_decay", "optim.clip_norm", "optim.ema_decay"),
    *("train.batch_size", "train.accumulate", "train.log_every_steps", "train.stop_on_collapse"),
    *("eval.batch_size", "eval.crop", "eval.knn", "eval.probe", "eval.best"),
)


class Experiment(NamedTuple):
    """Data sources and functions; no arrays, nothing compiled."""

    mesh: Mesh
    sources: dict[str, Any]  # split -> source
    augment: Callable  # (key, batch) -> batch, as the loss sees it
    task: Task
    predict: Callable  # (params, extra, image) -> {name: array}, in eval mode
    schedules: dict[str, Callable]  # name -> f(step), to be logged
    diagnose: Callable  # training metrics -> a warning, or ""
    steps_per_epoch: int
    total_steps: int
    init: Callable  # batch -> TrainState; jitted
    update: Callable  # (state, batch) -> (state, metrics); jitted, and takes the state's memory
    abstract: TrainState  # shapes, dtypes and layouts of a state


def build(config: Any) -> Experiment:
    """Builds what the config says. Raises UserError for what cannot be built, naming the key."""
    require(config, *KEYS)
    mesh = make_mesh()
    train = config.train
    check_batch_size(mesh, train.batch_size, key="train.batch_size", parts=train.accumulate)
    check_batch_size(mesh, config.eval.batch_size, key="eval.batch_size")

    data = load("data", config.data.name, "source", group="data")
    options, limit = without(config.data, "name", "workers", "limit"), config.data.limit
    sources = {split: first(call(data.source, options, group="data", split=split), limit) for split in SPLITS}
    info, count = sources["train"].info, len(sources["train"])
    if count < train.batch_size:
        raise ConfigError(
            f"config.train.batch_size={train.batch_size} is more than {info.name}'s {count} training images."
        )
    steps_per_epoch = count // train.batch_size
    total_steps = steps(train, "total", group="train", steps_per_epoch=steps_per_epoch)

    kind = load("tasks", config.task.name, "make", group="task")
    network = load("models", config.model.name, "Model", group="model")
    model = call(network.Model, without(config.model, "name"), group="model", num_classes=kind.num_outputs(info))
    augment = call(kind.make_augment, config.augment.to_dict(), group="augment", info=info)
    predict = kind.make_predict(model, info, crop=config.eval.crop)
    options = without(config.task, "name")
    given = {"model": model, "augment": augment, "predict": predict, "total_steps": total_steps}
    task = call(kind.make, options, group="task", **given)

    schedule, tx = _optimizer(config.optim, train.batch_size, steps_per_epoch, total_steps)
    layout = replicated(mesh)
    # It runs once, so what counts is how soon it is compiled: five times sooner unoptimised.
    quick = {"xla_backend_optimization_level": 0}
    init = jax.jit(make_init(task, tx, seed=config.seed), out_shardings=layout, compiler_options=quick)
    update = make_update(task, tx, seed=config.seed, accumulate=train.accumulate)
    example = {name: np.asarray(value) for name, value in sources["train"][0].items()}
    batch = {name: jax.ShapeDtypeStruct((train.batch_size, *x.shape), x.dtype) for name, x in example.items()}
    shapes = jax.eval_shape(init, batch)
    return Experiment(
        mesh=mesh,
        sources=sources,
        augment=augment,
        task=task,
        predict=predict,
        schedules={"learning_rate": schedule, **kind.make_schedules(total_steps, **options)},
        diagnose=kind.diagnose,
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        init=init,
        update=jax.jit(update, donate_argnums=0, out_shardings=layout),
        abstract=jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=layout), shapes),
    )


def open_batches(experiment: Experiment, config: Any, *, start: int) -> closing:
    """A context with the training batches of this process from step `start` on, on the host, without end."""
    return closing(
        train_batches(
            experiment.sources["train"],
            batch_size=config.train.batch_size,
            seed=config.seed,
            start=start,
            workers=config.data.workers,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
    )


def _optimizer(options: Any, batch_size: int, steps_per_epoch: int, total_steps: int) -> tuple:
    """The schedule and the optimiser of config.optim; `lr` is for `lr_batch_size` images (0: for any number)."""
    warmup = steps(options, "warmup", group="optim", steps_per_epoch=steps_per_epoch)
    lr = options.lr * batch_size / options.lr_batch_size if options.lr_batch_size else options.lr
    schedule = make_schedule(options.schedule, lr=lr, total_steps=total_steps, warmup_steps=warmup)
    shared = {name: options[name] for name in ("weight_decay", "clip_norm", "ema_decay")}
    own = options.get(options.name, {})  # only the optimiser's own group is used, so `name` alone changes it
    return schedule, make_optimizer(options.name, schedule, **shared, options=dict(own))
