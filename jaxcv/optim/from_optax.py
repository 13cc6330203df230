"""Optimisers and schedules of optax, for names without a file here: their signatures say what they take."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from jaxcv.config import call, check_value, nearest, part_names
from jaxcv.errors import ConfigError
from jaxcv.ranges import Decay, Finite, NonNegative, Positive
from jaxcv.task import Schedule, Tree

SHAPES = {"convolution": (3, 3, 2, 4), "dense": (4, 3), "bias": (3,)}
EXAMPLE = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in SHAPES.items()}
RANGES: dict[str, Any] = dict.fromkeys(("b1", "b2", "b3", "momentum", "decay"), Decay | None) | {
    "eps": NonNegative,
    "decay_rate": Positive,
}  # optax states none
RATES, LENGTHS = ("init_value", "peak_value"), ("decay_steps", "transition_steps", "warmup_steps")


def optimizer_from_optax(
    name: str,
    schedule: Schedule,
    decay: optax.GradientTransformation,
    *,
    weight_decay: float,
    mask: Callable[[Tree], Tree] | None,
    options: Mapping[str, Any],
) -> optax.GradientTransformation:
    """The optimiser `name` of optax or, if it has none, of optax.contrib, with the learning rate in it.

    An optimiser with a weight decay is given `weight_decay`, on the parameters for which `mask(params)` is True (None:
    on all), and applies it in its own way; for the others `decay` is added to the gradient. Muon's is on matrices
    alone; for the parameters that it leaves to Adam set its option `adam_weight_decay`. Raises ConfigError for an
    unknown optimiser, and for one that needs more than a schedule, gradients and parameters.
    """
    function = find_optimizer(name)
    _check_ranges(name, options)
    parameters = inspect.signature(function).parameters
    decay_key = next((key for key in ("weight_decay", "weight_decay_rate") if key in parameters), None)
    mask_key = next((key for key in ("mask", "weight_decay_mask") if key in parameters), None)
    if decay_key and not mask_key and weight_decay and mask is not None:
        raise ConfigError(
            f"config.optim.name={name!r} decays all parameters or none: set config.optim.weight_decay=0.0, or "
            "decay_all=True without no_decay."
        )
    arguments = ("learning_rate", schedule), (decay_key, weight_decay), (mask_key, mask)
    given = f"gradients, parameters and the options of config.optim.{name}"
    with _refusing(f"config.optim.name={name!r} cannot be used: given {given},"):
        tx = call(function, options, group=f"optim.{name}", **{key: value for key, value in arguments if key})
        state = jax.eval_shape(tx.init, EXAMPLE)
        jax.eval_shape(tx.update, EXAMPLE, state, EXAMPLE)
    if any(leaf.size == 0 for leaf in jax.tree.leaves(state)):
        raise ConfigError(
            f"config.optim.name={name!r} cannot be used: its state has empty arrays, which are not saved."
        )
    return tx if decay_key else optax.chain(decay, tx)


def schedule_from_optax(
    name: str, *, lr: float, total_steps: int, warmup_steps: int, options: Mapping[str, Any]
) -> Schedule:
    """The schedule `name` or `name`_schedule of optax, from the end of the warm-up on.

    `lr` is its `peak_value`, or its `init_value` if it has no peak. It lasts to the end of the run unless the options
    give `decay_steps` or `transition_steps`. Raises ConfigError for an unknown schedule, and for one that takes no
    learning rate or no number of steps.
    """
    function = find_schedule(name)
    _check_ranges(name, options)
    parameters = inspect.signature(function).parameters
    warms_up, peaks = "warmup_steps" in parameters, "peak_value" in parameters
    if warmup_steps and peaks and not warms_up:
        raise ConfigError(f"config.optim: {name} has a warm-up of its own; set the other to 0.")
    steps = total_steps - warmup_steps
    lengths = {"decay_steps": total_steps if warms_up else steps, "transition_steps": steps}
    rates = {"init_value": 0.0 if peaks and warmup_steps else lr, "peak_value": lr, "warmup_steps": warmup_steps}
    defaults, fixed = ({key: x for key, x in values.items() if key in parameters} for values in (lengths, rates))
    with _refusing(f"config.optim.{name} cannot be used:"):
        schedule = call(function, {**defaults, **options}, group=f"optim.{name}", **fixed)
        jax.eval_shape(schedule, jax.ShapeDtypeStruct((), jnp.int32))
    return schedule if warms_up else lambda step: schedule(step - warmup_steps)


def _check_ranges(name: str, options: Mapping[str, Any]) -> None:
    for key, value in options.items():
        check_value(value, RANGES.get(key, Finite if isinstance(value, float) else None), f"config.optim.{name}.{key}")


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Raises ConfigError for whatever a function of optax raises."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{what} optax says {first_line!r}.") from error


def find_optimizer(name: str) -> Callable:
    """The function of optax that is the optimiser `name`. Raises ConfigError if there is none that fits."""
    functions = {**_functions(optax.contrib), **_functions(optax)}
    if name not in functions:
        usable = [other for other, function in functions.items() if not _unfit(other, function)]
        names = part_names("optim", "optimizer") + usable
        raise ConfigError(f"config.optim.name={name!r} is unknown; {nearest(name, names)}")
    if reason := _unfit(name, functions[name]):
        raise ConfigError(f"config.optim.name={name!r} cannot be used: optax's function of that name {reason}.")
    return functions[name]


def _unfit(name: str, function: Callable) -> str:
    """Why a function of optax cannot be used as an optimiser, judged by its signature; empty if it can."""
    parameters = inspect.signature(function).parameters
    if "learning_rate" not in parameters or name.startswith("scale_by_"):
        return "is no optimiser that takes a learning rate"
    if needed := [key for key, x in parameters.items() if x.default is x.empty and key != "learning_rate"]:
        return f"needs {', '.join(needed)} too"
    if "Callable" not in str(parameters["learning_rate"].annotation):
        return "takes a number as its learning rate, but no schedule"
    return "has a random key in its state, which is not saved" if "key" in parameters else ""


def find_schedule(name: str) -> Callable:
    """The function of optax that is the schedule `name`. Raises ConfigError if there is none that fits."""
    functions = _functions(optax.schedules)
    function = functions.get(name) or functions.get(f"{name}_schedule")
    if function is None:
        usable = [other.removesuffix("_schedule") for other, function in functions.items() if _fits_a_run(function)]
        names = part_names("optim", "schedule") + usable
        raise ConfigError(f"config.optim.schedule={name!r} is unknown; {nearest(name, names)}")
    if not _fits_a_run(function):
        raise ConfigError(
            f"config.optim.schedule={name!r} cannot be used: optax's function of that name takes no learning rate "
            f"({', '.join(RATES)}), or no number of steps ({', '.join(LENGTHS)})."
        )
    return function


def _fits_a_run(function: Callable) -> bool:
    """Whether a schedule of optax takes a learning rate and a number of steps."""
    parameters = inspect.signature(function).parameters.keys()
    return not parameters.isdisjoint(RATES) and not parameters.isdisjoint(LENGTHS)


def _functions(module: ModuleType) -> dict[str, Callable]:
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, partial))
    }
