"""What a config describes, built in four parts: data, task, optimiser, compiled functions. Nothing runs here."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh

from jaxcv.config import call, duration, load_part, make_part, without
from jaxcv.data.check import check_source
from jaxcv.data.pipeline import eval_batches, train_batches
from jaxcv.data.source import SPLITS, Info, evenly, outline_of, select
from jaxcv.errors import ConfigError
from jaxcv.evals.evaluator import EvalSetup, Evaluator, LeftOut
from jaxcv.mesh import check_batch_size, local_rows, make_mesh, replicated
from jaxcv.optim.freeze import freeze
from jaxcv.optim.optimizers import make_optimizer
from jaxcv.optim.schedules import make_schedule
from jaxcv.settings import Eval, Reading, Settings, read_settings
from jaxcv.step import TrainState, make_init, make_update
from jaxcv.task import Schedule, Setup, Task, Tree, check_functions
from jaxcv.xla import prepare


class Data(NamedTuple):
    """The splits and what the network sees of them in each step."""

    sources: dict[str, Any]  # split -> source
    examples: Any  # the source of the images whose predictions are kept and plotted
    open_batches: Callable[..., closing]  # (start=step) -> a context with this process's training batches from there on
    eval_batches: Callable[[Any], Iterator[dict]]  # source -> this process's rows of all its batches, once
    steps_per_epoch: int
    total_steps: int


class Compiled(NamedTuple):
    """The jitted functions of a run, and the form of its state."""

    init: Callable  # (batch, weights for `network` or None) -> TrainState
    update: jax.stages.Wrapped  # (state, batch) -> (state, metrics); takes the state's memory
    abstract: TrainState  # shapes, dtypes and layouts of a state
    network: dict[str, Tree]  # shapes of the variables that `init_from` may give
    batch: dict[str, jax.ShapeDtypeStruct]  # shapes of a training batch


class Experiment(NamedTuple):
    """All that a run needs; no arrays, nothing compiled yet."""

    settings: Settings
    mesh: Mesh
    data: Data
    task: Task
    schedules: dict[str, Schedule]  # by the name under which they are logged
    compiled: Compiled
    evaluators: dict[str, Evaluator]
    periods: dict[str, int]  # evaluator -> steps between its evaluations; 0: only at the start and the end
    chance: dict[str, float]  # metric -> what guessing gives, where that is known
    best: str  # the metric that chooses the best checkpoint; empty: none
    notes: tuple[str, ...]  # what a user should know before the first step, a sentence each

    @property
    def info(self) -> Info:
        """What is known of the training data."""
        return self.data.sources["train"].info


def build(config: Any) -> Experiment:
    """Builds what the config says. Raises UserError for what cannot be built, naming the key."""
    settings = read_settings(config)
    prepare(deterministic=settings.general.deterministic, cache=settings.general.compilation_cache)
    mesh = make_mesh()
    data = build_data(without(config.data, *Reading._fields), settings, mesh)
    info = data.sources["train"].info
    task = build_task(config, info, total_steps=data.total_steps)
    schedule, tx = build_optimizer(config.optim, settings, data)
    compiled = build_compiled(settings, data, task, tx, mesh)
    setup = EvalSetup(task, info, mesh, compiled.batch)
    evaluators, left_out = build_evaluators(config.evals, setup)
    notes = [note for source in data.sources.values() for note in source.info.notes]
    notes += [f"{name} is left out: {why}." for name, why in left_out.items()]
    best = settings.eval.best
    if best.rpartition("/")[2] in {metric for name in left_out for metric in metrics_of(name)}:
        notes.append(f"config.eval.best={best!r} is off: it is not measured.")
        best = ""
    return Experiment(
        settings=settings,
        mesh=mesh,
        data=data,
        task=task,
        schedules={"learning_rate": schedule, **task.schedules},
        compiled=compiled,
        evaluators=evaluators,
        periods={name: _period(config.evals, name, settings.eval, data.steps_per_epoch) for name in evaluators},
        chance={**task.chance, **_chances(evaluators, info)},
        best=best,
        notes=tuple(dict.fromkeys(notes)),
    )


def build_data(options: Mapping[str, Any], settings: Settings, mesh: Mesh) -> Data:
    """The data set of config.data with its own `options`, in the batches of config.train and config.eval."""
    seed, reading, train, evaluation = settings.general.seed, settings.reading, settings.train, settings.eval
    check_batch_size(mesh, train.batch_size, key="train.batch_size", parts=train.accumulate)
    module = load_part("data", reading.name, "source", group="data")
    sources = {}
    for split in SPLITS:
        source = call(module.source, options, group="data", split=split)
        check_source(source, reading.name)
        sources[split] = evenly(source, reading.limit)
    info, count = sources["train"].info, len(sources["train"])
    if count < train.batch_size:
        raise ConfigError(
            f"config.train.batch_size={train.batch_size} is more than {info.name}'s {count} training images."
        )
    steps_per_epoch = count // train.batch_size
    total_steps = duration(train._asdict(), "total", group="train", steps_per_epoch=steps_per_epoch)
    if total_steps < 1:
        raise ConfigError(
            f"config.train.total_steps or total_epochs makes no step; an epoch is {steps_per_epoch} of them."
        )
    chosen, size = evaluation.named, evaluation.batch_size
    filled = -(-size // mesh.size) * mesh.size  # rows that the devices divide

    def open_batches(*, start: int) -> closing:
        options = {"batch_size": train.batch_size, "seed": seed, "start": start, "workers": reading.workers}
        return closing(train_batches(sources["train"], **options, rows=local_rows(mesh, train.batch_size)))

    return Data(
        sources=sources,
        examples=select(sources["val"], chosen) if chosen else evenly(sources["val"], evaluation.examples),
        open_batches=open_batches,
        eval_batches=partial(eval_batches, batch_size=size, filled=filled, rows=local_rows(mesh, filled)),
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
    )


def build_task(config: Any, info: Info, *, total_steps: int) -> Task:
    """The task of config.task with the network of config.model, for data that are described by `info`."""
    crop = config.eval.crop
    if crop > min(info.shape[:2]):
        size = f"{info.shape[0]} x {info.shape[1]}"
        raise ConfigError(f"config.eval.crop={crop} is larger than the images of {info.name}, which are {size} pixels.")

    def network(num_classes: int | None) -> nn.Module:
        # 0: the classes are not known, and the model has its own number of them
        return make_model(config.model, **({} if num_classes == 0 else {"num_classes": num_classes}))

    name, options = config.task.name, without(config.task, "name")
    setup = Setup(network, info, config.augment.to_dict(), total_steps, crop, config.eval.get("stage", ""))
    task = make_part("tasks", name, "make", options, group="task", kind=Task, setup=setup)
    check_functions(task, name)
    return task


def make_model(options: Any, **fields: Any) -> nn.Module:
    """The network of config.model, with `fields` where it does not say otherwise."""
    own = without(options, "name")
    given = {name: value for name, value in fields.items() if name not in own}
    model = make_part("models", options.name, "Model", own, group="model", kind=nn.Module, **given)
    if "train" not in signature(model.__call__).parameters:
        raise ConfigError(f"`__call__` of Model in jaxcv/models/{options.name}.py must have the argument 'train'.")
    return model


def build_optimizer(options: Any, settings: Settings, data: Data) -> tuple[Schedule, optax.GradientTransformation]:
    """The learning rate and the optimiser of config.optim, whose `options` may have a group for each, and for others,
    which are not used."""
    optim = settings.optim
    lr = optim.lr * settings.train.batch_size / optim.lr_batch_size if optim.lr_batch_size else optim.lr
    schedule = make_schedule(
        optim.schedule,
        lr=lr,
        total_steps=data.total_steps,
        warmup_steps=duration(optim._asdict(), "warmup", group="optim", steps_per_epoch=data.steps_per_epoch),
        steps_per_epoch=data.steps_per_epoch,
        options=options.get(optim.schedule, {}),
    )
    return schedule, make_tx(options, schedule)


def make_tx(options: Any, schedule: Schedule) -> optax.GradientTransformation:
    """The optimiser of config.optim."""
    names = ("weight_decay", "decay_all", "no_decay", "clip_norm", "ema_decay", "lr_multipliers", "freeze")
    shared = {name: options[name] for name in names if name in options}
    return make_optimizer(options.name, schedule, **shared, options=options.get(options.name, {}))


def build_compiled(settings: Settings, data: Data, task: Task, tx: Any, mesh: Mesh) -> Compiled:
    """The jitted functions, for the batches of config.train and the frozen parameters of config.optim."""
    seed, train, optim = settings.general.seed, settings.train, settings.optim
    frozen = freeze(task.loss, optim.freeze, statistics=optim.freeze_statistics)
    layout = replicated(mesh)
    # It runs once, so what counts is how soon it is compiled: five times sooner unoptimised.
    quick = {"xla_backend_optimization_level": 0}
    init = jax.jit(make_init(task, tx, seed=seed), out_shardings=layout, compiler_options=quick)
    update = make_update(task._replace(loss=frozen), tx, seed=seed, accumulate=train.accumulate)
    example = {name: np.asarray(value) for name, value in data.sources["train"][0].items()}
    batch = {name: jax.ShapeDtypeStruct((train.batch_size, *x.shape), x.dtype) for name, x in example.items()}
    shapes = jax.eval_shape(init, batch)
    return Compiled(
        init=init,
        update=jax.jit(update, donate_argnums=0, out_shardings=layout),
        abstract=jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=layout), shapes),
        network=task.get_network(shapes.params, shapes.model_state),
        batch=batch,
    )


def build_evaluators(options: Any, setup: EvalSetup) -> tuple[dict[str, Evaluator], dict[str, str]]:
    """The evaluators that config.evals names, and why others of them are left out."""
    evaluators, left_out = {}, {}
    for name in options.names:
        own = without(options[name], "every_steps", "every_epochs") if name in options else {}
        try:
            evaluators[name] = make_part("evals", name, "make", own, group=f"evals.{name}", kind=Evaluator, setup=setup)
        except LeftOut as reason:
            left_out[name] = str(reason)
    if not evaluators:
        why = "; ".join(f"{name} needs more, as {reason}" for name, reason in left_out.items()) or "it is empty"
        raise ConfigError(f"config.evals.names must name what measures a state, such as 'measure': {why}.")
    return evaluators, left_out


def metrics_of(name: str) -> Mapping[str, Callable[[Info], float] | None]:
    """METRICS of the evaluator `name`, see jaxcv/evals/evaluator.py."""
    module = load_part("evals", name, "make", group="evals")
    if not isinstance(getattr(module, "METRICS", None), Mapping):
        raise ConfigError(f"jaxcv/evals/{name}.py must have METRICS, a dictionary; see jaxcv/evals/evaluator.py.")
    return module.METRICS


def _chances(evaluators: Iterable[str], info: Info) -> dict[str, float]:
    metrics = [item for name in evaluators for item in metrics_of(name).items()]
    return {metric: chance(info) for metric, chance in metrics if chance}


def _period(options: Any, name: str, evaluation: Eval, steps_per_epoch: int) -> int:
    """Steps between two evaluations by the evaluator `name` of config.evals: its own period, or config.eval's."""
    own = options.get(name, {})
    if "every_steps" in own or "every_epochs" in own:
        return duration(own, "every", group=f"evals.{name}", steps_per_epoch=steps_per_epoch)
    return duration(evaluation._asdict(), "every", group="eval", steps_per_epoch=steps_per_epoch)


def outline(config: Any, *, classes: int = 0) -> Info | None:
    """What is known of the config's data without reading them, None if nothing is; with `classes`, as if they had so
    many."""
    module = load_part("data", config.data.name, "source", group="data")
    info = outline_of(module, without(config.data, *Reading._fields))
    return info._replace(classes=tuple(map(str, range(classes)))) if info and classes else info


def image_shape(task: Task, info: Info) -> tuple[int, int, int]:
    """(h, w, c) of the images that the network is trained on."""
    if task.augment is None:
        return info.shape
    shapes = {"image": (1, *info.shape), "mask": (1, *info.shape[:2]), "label": (1,)}
    batch = {name: jax.ShapeDtypeStruct(s, np.int32 if name == "label" else np.uint8) for name, s in shapes.items()}
    seen = jax.eval_shape(task.augment, jax.eval_shape(lambda: jax.random.key(0)), batch)
    return next(x.shape[1:] for x in seen.values() if len(x.shape) == 4)
