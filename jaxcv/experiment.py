"""What a config describes, built in four parts: data, task, optimiser, compiled functions. Nothing runs here."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh

from jaxcv.config import call, duration, load_part, without
from jaxcv.data.check import check_source
from jaxcv.data.pipeline import eval_batches, train_batches
from jaxcv.data.source import SPLITS, Info, evenly, outline_of, select
from jaxcv.errors import ConfigError
from jaxcv.evals.evaluator import EvalSetup, Evaluator, LeftOut
from jaxcv.mesh import check_batch_size, local_rows, make_mesh, replicated
from jaxcv.optim.freeze import freeze
from jaxcv.optim.optimizers import make_optimizer
from jaxcv.optim.schedules import make_schedule
from jaxcv.prng import stream
from jaxcv.settings import Eval, Reading, Settings, read_settings
from jaxcv.step import TrainState, make_init, make_update
from jaxcv.task import Schedule, Setup, Task, Tree
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
    if best.rpartition("/")[2] in {metric for name in left_out for metric in _evaluator(name).METRICS}:
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
        best=best,
        notes=tuple(dict.fromkeys(notes)),
    )


def build_data(options: Mapping[str, Any], settings: Settings, mesh: Mesh) -> Data:
    """The data set of config.data with its own `options`, in the batches of config.train and config.eval."""
    seed, reading, train, evaluation = settings.general.seed, settings.reading, settings.train, settings.eval
    check_batch_size(mesh, train.batch_size, key="train.batch_size", parts=train.accumulate)
    check_batch_size(mesh, evaluation.batch_size, key="eval.batch_size")
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
    chosen = evaluation.named

    def open_batches(*, start: int) -> closing:
        """The training batches of this process from step `start` on, on the host, without end."""
        rows = local_rows(mesh, train.batch_size)
        return closing(
            train_batches(
                sources["train"],
                batch_size=train.batch_size,
                seed=seed,
                start=start,
                workers=reading.workers,
                rows=rows,
            )
        )

    def batches_once(source: Any) -> Iterator[dict]:
        """This process's rows of all batches of a source, in order."""
        rows = local_rows(mesh, evaluation.batch_size)
        return eval_batches(source, batch_size=evaluation.batch_size, rows=rows)

    return Data(
        sources=sources,
        examples=select(sources["val"], chosen) if chosen else evenly(sources["val"], evaluation.examples),
        open_batches=open_batches,
        eval_batches=batches_once,
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
    )


def build_task(config: Any, info: Info, *, total_steps: int) -> Task:
    """The task of config.task with the network of config.model, for data that are described by `info`."""
    module = load_part("tasks", config.task.name, "make", group="task")

    def network(num_classes: int | None) -> nn.Module:
        # 0: the classes are not known, and the model has its own number of them
        return make_model(config.model, **({} if num_classes == 0 else {"num_classes": num_classes}))

    evaluation = config.eval
    setup = Setup(network, info, config.augment.to_dict(), total_steps, evaluation.crop, evaluation.get("stage", ""))
    try:
        task = call(module.make, without(config.task, "name"), group="task", setup=setup)
    except TypeError as error:
        if "Task.__new__()" not in str(error):
            raise
        lacks = str(error).partition("argument")[2].partition(": ")[2]
        raise ConfigError(f"the task {config.task.name!r} is not complete: its Task lacks {lacks}.") from error
    if not isinstance(task, Task):
        got = type(task).__name__
        raise ConfigError(f"`make` in jaxcv/tasks/{config.task.name}.py must return a jaxcv.task.Task, not a {got}.")
    return task


def make_model(options: Any, **fields: Any) -> nn.Module:
    """The network of config.model, with `fields` where it does not say otherwise."""
    module = load_part("models", options.name, "Model", group="model")
    return call(module.Model, {**fields, **without(options, "name")}, group="model")


def build_optimizer(options: Any, settings: Settings, data: Data) -> tuple[Schedule, optax.GradientTransformation]:
    """The learning rate and the optimiser of config.optim, whose `options` have a group for each."""
    optim = settings.optim
    lr = optim.lr * settings.train.batch_size / optim.lr_batch_size if optim.lr_batch_size else optim.lr
    schedule = make_schedule(
        optim.schedule,
        lr=lr,
        total_steps=data.total_steps,
        warmup_steps=duration(optim._asdict(), "warmup", group="optim", steps_per_epoch=data.steps_per_epoch),
        steps_per_epoch=data.steps_per_epoch,
        options=_own(options, optim.schedule),
    )
    return schedule, make_tx(options, schedule)


def make_tx(options: Any, schedule: Schedule) -> optax.GradientTransformation:
    """The optimiser of config.optim."""
    names = ("weight_decay", "decay_all", "no_decay", "clip_norm", "ema_decay", "lr_multipliers", "freeze")
    shared = {name: options[name] for name in names if name in options}
    return make_optimizer(options.name, schedule, **shared, options=_own(options, options.name))


def _own(options: Any, name: str) -> dict[str, Any]:
    """The group of options that is called `name`: other optimisers' and schedules' are not used, so `name` alone
    changes them."""
    return options[name].to_dict() if name in options else {}


def build_compiled(settings: Settings, data: Data, task: Task, tx: Any, mesh: Mesh) -> Compiled:
    """The jitted functions, for the batches of config.train and the frozen parameters of config.optim."""
    seed, train, optim = settings.general.seed, settings.train, settings.optim
    frozen = freeze(task.loss, optim.freeze, statistics=optim.freeze_statistics)
    layout = replicated(mesh)
    # It runs once, so what counts is how soon it is compiled: five times sooner unoptimised.
    quick = {"xla_backend_optimization_level": 0}
    init = _with_weights(make_init(task, tx, seed=seed), task, tx)
    init = jax.jit(init, out_shardings=layout, compiler_options=quick)
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


def _with_weights(init: Callable, task: Task, tx: Any) -> Callable:
    """`init` that lets the weights it is given, a tree with None where there is none, replace the initial ones."""

    def start(batch: dict, weights: Any = None) -> TrainState:
        state = init(batch)
        if weights is None:
            return state
        initial = task.get_network(state.params, state.model_state)
        network = jax.tree.map(lambda w, x: x if w is None else w, weights, initial, is_leaf=lambda w: w is None)
        params, model_state = task.set_network(state.params, state.model_state, network)
        return state._replace(params=params, model_state=model_state, opt_state=tx.init(params))

    return start


def build_evaluators(options: Any, setup: EvalSetup) -> tuple[dict[str, Evaluator], dict[str, str]]:
    """The evaluators that config.evals names, and why others of them are left out."""
    evaluators, left_out = {}, {}
    for name in options.names:
        own = without(options[name], "every_steps", "every_epochs") if name in options else {}
        try:
            evaluators[name] = call(_evaluator(name).make, own, group=f"evals.{name}", setup=setup)
        except LeftOut as reason:
            left_out[name] = str(reason)
    return evaluators, left_out


def _evaluator(name: str) -> Any:
    return load_part("evals", name, "make", group="evals")


def _period(options: Any, name: str, evaluation: Eval, steps_per_epoch: int) -> int:
    """Steps between two evaluations by the evaluator `name` of config.evals: its own period, or config.eval's."""
    own = options.get(name, {})
    if "every_steps" in own or "every_epochs" in own:
        return duration(own, "every", group=f"evals.{name}", steps_per_epoch=steps_per_epoch)
    return duration(evaluation._asdict(), "every", group="eval", steps_per_epoch=steps_per_epoch)


def check_contract(experiment: Experiment, *, name: str) -> None:
    """Raises ConfigError unless the functions of the task `name` fit together, by their shapes alone.

    The update that is traced here is not traced again at the first step.
    """
    compiled = experiment.compiled
    state, metrics = jax.eval_shape(compiled.update, compiled.abstract, compiled.batch)
    before, after = (_forms(tree) for tree in (compiled.abstract, state))
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            raise ConfigError(
                f"the task {name!r}: {path} is {before.get(path, 'absent')} before a step and "
                f"{after.get(path, 'absent')} after it; `loss` and `after` must keep the form of the state."
            )
    for path, form in _forms(metrics).items():
        if form.partition("[")[2] != "]":
            raise ConfigError(f"the task {name!r}: the metric {path!r} of `loss` is {form}; it must be one number.")
    params, model_state, size = (
        compiled.abstract.params,
        compiled.abstract.model_state,
        experiment.settings.eval.batch_size,
    )
    batch = {key: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype) for key, x in compiled.batch.items()}
    valid = jax.ShapeDtypeStruct((size,), np.float32)
    sums = jax.eval_shape(experiment.task.measure, params, model_state, {**batch, "valid": valid})
    if not isinstance(sums, dict):
        raise ConfigError(f"the task {name!r}: `measure` gives a {type(sums).__name__}, not a dictionary of sums.")
    if experiment.task.predict is not None:
        out = jax.eval_shape(experiment.task.predict, params, model_state, batch["image"])
        for path, form in _forms(out).items():
            if f"{form},".partition("[")[2].split(",")[0].rstrip("]") != str(size):
                raise ConfigError(f"the task {name!r}: `predict` gives {path!r} as {form} for {size} images.")


def _forms(tree: Tree) -> dict[str, str]:
    """{"params.conv1.kernel": "float32[3,3,3,16]"}"""
    leaves = jax.tree.leaves_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    return {name: f"{x.dtype}[{','.join(map(str, x.shape))}]" for name, (_, x) in zip(names, leaves)}


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
