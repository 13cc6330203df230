"""What a config describes, built. With train.py the only file that reads the whole config."""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh

from jaxcv.config import call, duration, load_part, require, without
from jaxcv.data.pipeline import train_batches
from jaxcv.data.source import Info, evenly, select
from jaxcv.errors import ConfigError
from jaxcv.mesh import check_batch_size, local_rows, make_mesh, replicated
from jaxcv.models.weights import Row, fit
from jaxcv.optim.freeze import freeze
from jaxcv.optim.optimizers import make_optimizer
from jaxcv.optim.schedules import Schedule, make_schedule
from jaxcv.prng import stream
from jaxcv.step import TrainState, make_init, make_update
from jaxcv.store.weights import read_weights
from jaxcv.task import Task

SPLITS = ("train", "val", "test")
KEYS = (
    *("seed", "init_from", "init_allow"),
    *("data.name", "data.workers", "data.limit", "augment", "model.name", "task.name"),
    *("optim.name", "optim.schedule", "optim.lr", "optim.lr_batch_size"),
    *("optim.weight_decay", "optim.clip_norm", "optim.ema_decay", "optim.freeze"),
    *("train.batch_size", "train.accumulate", "train.log_every_steps", "train.stop_on_collapse", "train.patience"),
    *("eval.batch_size", "eval.crop", "eval.knn", "eval.probe", "eval.examples", "eval.best", "eval.report"),
)


class Experiment(NamedTuple):
    """Data sources and functions; no arrays, nothing compiled."""

    mesh: Mesh
    sources: dict[str, Any]  # split -> source
    examples: Any  # the source of what is drawn
    augment: Callable  # (key, batch) -> batch, as the loss sees it
    task: Task
    predict: Callable  # (params, model_state, image) -> {name: array}, in eval mode
    schedules: dict[str, Callable]  # name -> f(step), to be logged
    diagnose: Callable  # training metrics -> a warning, or ""
    steps_per_epoch: int
    total_steps: int
    network: dict  # shapes of the variables that `init_from` may give
    init: Callable  # (batch, weights for `network` or None) -> TrainState; jitted
    update: Callable  # (state, batch) -> (state, metrics); jitted, and takes the state's memory
    abstract: TrainState  # shapes, dtypes and layouts of a state


def build(config: Any) -> Experiment:
    """Builds what the config says. Raises UserError for what cannot be built, naming the key."""
    require(config, *KEYS)
    if config.seed < 0:
        raise ConfigError(f"config.seed={config.seed} must be 0 or more.")
    mesh = make_mesh()
    train = config.train
    check_batch_size(mesh, train.batch_size, key="train.batch_size", parts=train.accumulate)
    check_batch_size(mesh, config.eval.batch_size, key="eval.batch_size")

    data = load_part("data", config.data.name, "source", group="data")
    options, limit = without(config.data, "name", "workers", "limit"), config.data.limit
    sources = {split: evenly(call(data.source, options, group="data", split=split), limit) for split in SPLITS}
    drawn = config.eval.get("named", ())
    examples = select(sources["val"], drawn) if drawn else evenly(sources["val"], config.eval.examples)
    info, count = sources["train"].info, len(sources["train"])
    if count < train.batch_size:
        raise ConfigError(
            f"config.train.batch_size={train.batch_size} is more than {info.name}'s {count} training images."
        )
    steps_per_epoch = count // train.batch_size
    total_steps = duration(train, "total", group="train", steps_per_epoch=steps_per_epoch)
    if total_steps < 1:
        raise ConfigError(
            f"config.train.total_steps or total_epochs makes no step; an epoch is {steps_per_epoch} of them."
        )

    network = make_network(config, info)
    kind, options = network.kind, without(config.task, "name")
    given = {"info": info, "total_steps": total_steps}
    parts = {"model": network.model, "augment": network.augment, "predict": network.predict}
    task = call(kind.make, options, group="task", **parts, **given)
    task = task._replace(
        loss=freeze(task.loss, config.optim.freeze, statistics=config.optim.get("freeze_statistics", True))
    )
    schedule = _schedule(config.optim, train.batch_size, steps_per_epoch, total_steps)
    tx = make_tx(config.optim, schedule)
    layout = replicated(mesh)
    # It runs once, so what counts is how soon it is compiled: five times sooner unoptimised.
    quick = {"xla_backend_optimization_level": 0}
    init = _make_init(kind, make_init(task, tx, seed=config.seed), tx)
    init = jax.jit(init, out_shardings=layout, compiler_options=quick)
    update = make_update(task, tx, seed=config.seed, accumulate=train.accumulate)
    example = {name: np.asarray(value) for name, value in sources["train"][0].items()}
    batch = {name: jax.ShapeDtypeStruct((train.batch_size, *x.shape), x.dtype) for name, x in example.items()}
    shapes = jax.eval_shape(init, batch)
    return Experiment(
        mesh=mesh,
        sources=sources,
        examples=examples,
        augment=network.augment,
        task=task,
        predict=network.predict,
        schedules={"learning_rate": schedule, **kind.make_schedules(total_steps, **options)},
        diagnose=kind.diagnose,
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        network=kind.get_network(shapes.params, shapes.model_state),
        init=init,
        update=jax.jit(update, donate_argnums=0, out_shardings=layout),
        abstract=jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=layout), shapes),
    )


class Network(NamedTuple):
    """What a config says of the network and of what it sees."""

    kind: Any  # the task's module
    model: nn.Module
    augment: Callable
    predict: Callable


def make_network(config: Any, info: Info) -> Network:
    """Builds the network for data that are described by `info`."""
    kind = load_part("tasks", config.task.name, "make", group="task")
    options = without(config.task, "name")
    outputs = kind.num_outputs(info, **options)
    # 0: the classes are not known, and the model has its own number of them
    model = make_model(config, **({} if outputs == 0 else {"num_classes": outputs}))
    augment = call(kind.make_augment, config.augment.to_dict(), group="augment", info=info)
    predict = kind.make_predict(model, info, crop=config.eval.crop, stage=config.eval.get("stage", ""), **options)
    return Network(kind, model, augment, predict)


def make_model(config: Any, **fields: Any) -> nn.Module:
    """The network of config.model, with `fields` where it does not say otherwise."""
    found = load_part("models", config.model.name, "Model", group="model")
    return call(found.Model, {**fields, **without(config.model, "name")}, group="model")


def outline(config: Any, *, classes: int = 0) -> Info:
    """What is known of the config's data without reading them; with `classes`, as if they had so many."""
    data = load_part("data", config.data.name, "source", group="data")
    info = data.outline(**without(config.data, "name"))
    return info._replace(classes=tuple(map(str, range(classes)))) if classes else info


def image_shape(augment: Callable, info: Info) -> tuple[int, int, int]:
    """(h, w, c) of the images that the network is trained on."""
    shapes = {"image": (1, *info.shape), "mask": (1, *info.shape[:2]), "label": (1,)}
    batch = {name: jax.ShapeDtypeStruct(s, np.int32 if name == "label" else np.uint8) for name, s in shapes.items()}
    seen = jax.eval_shape(augment, jax.eval_shape(lambda: jax.random.key(0)), batch)
    return next(x.shape[1:] for x in seen.values() if len(x.shape) == 4)


def pretrained(
    experiment: Experiment, source: str, allow: Sequence[str], fresh: Sequence[str] = ()
) -> tuple[Any, list[Row]]:
    """The weights in `source` for `experiment.init`, and what became of each tensor, which is still to be checked.

    allow: patterns of tensors that may be missing or unused.  fresh: of those that are not taken though they are there.
    """
    return fit(read_weights(source), experiment.network, allow=allow, fresh=fresh)


def augmented(experiment: Experiment, seed: int, step: int, batch: dict) -> dict[str, np.ndarray]:
    """What the network sees of `batch` at a step: "augmented", or a name for each view, images float in [0, 1] again;
    of a data set of masks also "augmented mask", int (b, h, w)."""
    info = experiment.sources["train"].info
    key = jax.random.fold_in(stream(jax.random.key(seed), "train"), step)
    views = jax.device_get(jax.jit(experiment.augment)(key, batch))
    images = {name: view for name, view in views.items() if view.ndim == 4 and view.dtype.kind == "f"}
    images = {"augmented" if name == "image" else name: view for name, view in images.items()}
    # what has other channels than the data, a grey image of colours, is not normalised
    images = {
        name: view * info.std + info.mean if view.shape[-1] == len(info.std) else view for name, view in images.items()
    }
    return images | ({"augmented mask": views["mask"]} if info.palette and "mask" in views else {})


def open_batches(experiment: Experiment, config: Any, *, start: int) -> closing:
    """A context with the training batches of this process from step `start` on, on the host, without end."""
    return closing(
        train_batches(
            experiment.sources["train"],
            batch_size=config.train.batch_size,
            seed=config.seed,
            start=start,
            workers=config.data.workers,
            rows=local_rows(experiment.mesh, config.train.batch_size),
        )
    )


def _make_init(kind: Any, init: Callable, tx: Any) -> Callable:
    """`init` that lets the weights it is given, a tree with None where there is none, take the place of drawn ones."""

    def start(batch: dict, weights: Any = None) -> TrainState:
        state = init(batch)
        if weights is None:
            return state
        drawn = kind.get_network(state.params, state.model_state)
        network = jax.tree.map(lambda w, x: x if w is None else w, weights, drawn, is_leaf=lambda w: w is None)
        params, model_state = kind.set_network(state.params, state.model_state, network)
        return state._replace(params=params, model_state=model_state, opt_state=tx.init(params))

    return start


def _schedule(options: Any, batch_size: int, steps_per_epoch: int, total_steps: int) -> Schedule:
    """The learning rate of config.optim; `lr` is for `lr_batch_size` images (0: for any number)."""
    lr = options.lr * batch_size / options.lr_batch_size if options.lr_batch_size else options.lr
    return make_schedule(
        options.schedule,
        lr=lr,
        total_steps=total_steps,
        warmup_steps=duration(options, "warmup", group="optim", steps_per_epoch=steps_per_epoch),
        steps_per_epoch=steps_per_epoch,
        options=_own(options, options.schedule),
    )


def make_tx(options: Any, schedule: Schedule) -> optax.GradientTransformation:
    """The optimiser of config.optim."""
    names = ("weight_decay", "decay_all", "no_decay", "clip_norm", "ema_decay", "lr_multipliers", "freeze")
    shared = {name: options[name] for name in names if name in options}
    return make_optimizer(options.name, schedule, **shared, options=_own(options, options.name))


def _own(options: Any, name: str) -> dict[str, Any]:
    """The group of options that is called `name`: other optimisers' and schedules' are not used, so `name` alone
    changes them."""
    return options[name].to_dict() if name in options else {}
