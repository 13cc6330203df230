"""Optimisers and schedules of optax, for names that have no file here: what they take is read off their signatures."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from jaxcv.config import call, nearest, part_names
from jaxcv.errors import ConfigError

SHAPES = {"convolution": (3, 3, 2, 4), "dense": (4, 3), "bias": (3,)}
EXAMPLE = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in SHAPES.items()}


def optimizer_from_optax(
    name: str,
    schedule: optax.Schedule,
    decay: optax.GradientTransformation,
    *,
    weight_decay: float,
    decayed: Callable | None,
    options: Mapping[str, Any],
) -> optax.GradientTransformation:
    """The optimiser `name` of optax or, if it has none, of optax.contrib, with the learning rate in it.

    One that has a weight decay is given `weight_decay`, on the parameters for which `decayed(params)` is True (None:
    on all), and applies it in its own way; for the others `decay` joins the gradient. Muon's is on matrices alone: what
    it leaves to Adam has `adam_weight_decay`, an option. Raises ConfigError for an unknown optimiser, and for one that
    needs more than a schedule, gradients and parameters.
    """
    function = _find_optimizer(name)
    parameters = inspect.signature(function).parameters
    own_decay = next((key for key in ("weight_decay", "weight_decay_rate") if key in parameters), None)
    mask = next((key for key in ("mask", "weight_decay_mask") if key in parameters), None)
    if own_decay and not mask and weight_decay and decayed is not None:
        raise ConfigError(
            f"config.optim.name={name!r} decays all parameters or none: set config.optim.weight_decay=0.0, or "
            "decay_all=True without no_decay."
        )
    given = {"learning_rate": schedule, own_decay: weight_decay, mask: decayed}
    given = {key: value for key, value in given.items() if key}
    try:
        tx = call(function, options, group=f"optim.{name}", **given)
        state = jax.eval_shape(tx.init, EXAMPLE)
        jax.eval_shape(tx.update, EXAMPLE, state, EXAMPLE)
    except ConfigError:
        raise
    except Exception as error:  # whatever a function of optax raises for what it lacks
        raise ConfigError(
            f"config.optim.name={name!r} cannot be used: given gradients, parameters and the options of "
            f"config.optim.{name}, optax says {_first_line(error)!r}."
        ) from error
    if any(leaf.size == 0 for leaf in jax.tree.leaves(state)):
        raise ConfigError(
            f"config.optim.name={name!r} cannot be used: its state has empty arrays, which are not saved."
        )
    return tx if own_decay else optax.chain(decay, tx)


def schedule_from_optax(
    name: str, *, lr: float, total_steps: int, warmup_steps: int, options: Mapping[str, Any]
) -> optax.Schedule:
    """The schedule `name` or `name`_schedule of optax, from the end of the warm-up on.

    `lr` is its `peak_value`, or its `init_value` if it has no peak. It lasts to the end of the run unless the options
    give `decay_steps` or `transition_steps`. Raises ConfigError for an unknown schedule, and for one that takes no
    learning rate or no number of steps.
    """
    function = _find_schedule(name)
    parameters = inspect.signature(function).parameters
    warms_up = "warmup_steps" in parameters
    if warmup_steps and "peak_value" in parameters and not warms_up:
        raise ConfigError(f"config.optim: {name} has a warm-up of its own; set the other to 0.")
    rises = "peak_value" in parameters and warmup_steps
    rates = {"init_value": 0.0 if rises else lr, "peak_value": lr}
    left = total_steps - warmup_steps
    lengths = {"decay_steps": total_steps if warms_up else left, "transition_steps": left}

    def taken(values: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in values.items() if key in parameters}

    try:
        given = taken({**rates, "warmup_steps": warmup_steps})
        schedule = call(function, {**taken(lengths), **options}, group=f"optim.{name}", **given)
        jax.eval_shape(schedule, jax.ShapeDtypeStruct((), jnp.int32))
    except ConfigError:
        raise
    except Exception as error:  # whatever a function of optax raises for values that it cannot use
        raise ConfigError(f"config.optim.{name} cannot be used: optax says {_first_line(error)!r}.") from error
    return schedule if warms_up else lambda step: schedule(step - warmup_steps)


def _find_optimizer(name: str) -> Callable:
    found = {**_functions(optax.contrib), **_functions(optax)}
    if name not in found:
        usable = [other for other, function in found.items() if not _lacks(other, function)]
        names = part_names("optim", "optimizer") + usable
        raise ConfigError(f"config.optim.name={name!r} is unknown; {nearest(name, names)}")
    if lack := _lacks(name, found[name]):
        raise ConfigError(f"config.optim.name={name!r} cannot be used: optax's function of that name {lack}.")
    return found[name]


def _lacks(name: str, function: Callable) -> str:
    """Why a function of optax is no optimiser for us, as far as its signature says; empty if it is one."""
    parameters = inspect.signature(function).parameters
    if "learning_rate" not in parameters or name.startswith("scale_by_"):
        return "is no optimiser that takes a learning rate"
    if needed := [key for key, x in parameters.items() if x.default is x.empty and key != "learning_rate"]:
        return f"needs {', '.join(needed)} too"
    if "Callable" not in str(parameters["learning_rate"].annotation):
        return "takes a number as its learning rate, but no schedule"
    if "key" in parameters:
        return "has a random key in its state, which is not saved"
    return ""


def _find_schedule(name: str) -> Callable:
    found = _functions(optax.schedules)
    function = found.get(name) or found.get(f"{name}_schedule")
    if function is None:
        usable = [other.removesuffix("_schedule") for other, function in found.items() if _fits_a_run(function)]
        names = part_names("optim", "schedule") + usable
        raise ConfigError(f"config.optim.schedule={name!r} is unknown; {nearest(name, names)}")
    if not _fits_a_run(function):
        raise ConfigError(
            f"config.optim.schedule={name!r} cannot be used: optax's function of that name takes no learning rate "
            "(init_value, peak_value), or no number of steps (decay_steps, transition_steps, warmup_steps)."
        )
    return function


def _fits_a_run(function: Callable) -> bool:
    """Whether a schedule of optax takes a learning rate and a number of steps."""
    parameters = inspect.signature(function).parameters
    rates, lengths = ("init_value", "peak_value"), ("decay_steps", "transition_steps", "warmup_steps")
    return any(key in parameters for key in rates) and any(key in parameters for key in lengths)


def _functions(module: Any) -> dict[str, Callable]:
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return {name: value for name, value in public.items() if inspect.isfunction(value) or isinstance(value, partial)}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
