"""Every key of every config has an effect: changed, it makes another run, is refused, or is told to have none."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import data_files
from jaxcv.config import HARMLESS, flatten, without
from jaxcv.errors import UserError
from jaxcv.experiment import _period, build_compiled, build_data, build_optimizer, build_task, image_shape
from jaxcv.mesh import make_mesh
from jaxcv.run.plan import make_plan
from jaxcv.settings import Reading, read_settings, without_effect
from test_configs import CONFIGS, variants

LATER = {  # keys that `build` only keeps -> what reads them later
    "deterministic": "jaxcv.tools.command, for XLA's flags: test_deterministic.py",
    "init_allow": "jaxcv.run.begin, with the weights: test_pretrained.py",
    "init_from": "jaxcv.run.begin: test_pretrained.py",
    "init_fresh": "jaxcv.run.begin, with the weights: test_pretrained.py",
    "eval.best": "jaxcv.run.plan, at the first evaluation: test_train.py",
    "eval.report": "jaxcv.run.finish: test_train.py",
    "eval.tile": "jaxcv predict: test_segment.py",
    "evals.knn.k": "what knn compiles: test_contract_evals.py",
    "evals.knn.temperature": "what knn compiles: test_contract_evals.py",
    "evals.probe.iterations": "what probe compiles: test_probe.py",
    "task.target_init": "the initial state: test_byol.py",
    "train.log_every_steps": "jaxcv.run.monitor: test_train.py",
    "train.patience": "jaxcv.run.plan, after evaluations: test_train.py",
    "train.stop_on_collapse": "jaxcv.run.monitor: test_byol.py",
}
SMALL = {  # the network of the steps that are compared, so that they are traced soon
    "image": {"name": "basenet", "channels": (2,), "hidden": (2,), "dtype": "float32"},
    "mask": {"name": "unet", "depth": 1, "width": 2, "dtype": "float32"},
}
OTHERS = {  # values that are near no other
    "augment": ({"flip": {"p": 0.5}},),
    "data.colors": (((0, 0, 0), (255, 255, 255)),),
    "data.holdout": (6,),
    "data.mean": ((0.1, 0.2, 0.3),),
    "data.remap": ((0, 0),),
    "data.std": ((0.1, 0.2, 0.3),),
    "data.train_lists": (("no_such_list",),),
    "eval.best": ("val/other",),
    "eval.crop": (16,),
    "eval.stage": ("pool1",),
    "evals.names": ((),),
    "optim.schedule": ("constant", "cosine"),
    "optim.warmup_epochs": (1.0,),
    "task.loss": ("sigmoid", "focal"),
}
BLUR, PARAMS = {"p": 0.5, "kernel": 3, "sigma": (1.0, 2.0)}, {"conv": {"kernel": (3, 3, 2, 4)}, "bn": {"scale": (4,)}}


def others(key, value):
    """Other values for a key, of which one should be valid."""
    if key in OTHERS:
        return OTHERS[key]
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (2 * value, value + 1, value - 1, value // 2)
    if isinstance(value, float):
        return (0.5 * value, value + 0.25)
    if isinstance(value, tuple):
        return (value[::-1], value[:-1]) if value else (("no_such_name",),)
    return (BLUR,) if isinstance(value, dict) else ("no_such_name",)


def text(function, *arguments):
    """The program of a function, with its constants and without addresses."""
    program = jax.make_jaxpr(function)(*arguments)
    return re.sub("0x[0-9a-f]+", "", str(program)), str(program.consts)


def data_of(config):
    return build_data(without(config.data, *Reading._fields), read_settings(config), make_mesh())


def of_data(config):
    """What the network is given: the splits, their first example, the examples for the figures, the order."""
    data = data_of(config)
    splits = [(source.info, len(source), str(source[0])) for source in data.sources.values()]
    return splits, data.steps_per_epoch, data.total_steps, [str(x) for x in data.examples], order(data)


def order(data):
    with data.open_batches(start=0) as batches:
        return next(batches)["image"].tobytes()


def of_augment(config):
    data = data_of(config)
    task = build_task(config, data.sources["train"].info, total_steps=data.total_steps)
    return text(task.augment, jax.random.key(0), batch_of(config, data))


def batch_of(config, data):
    example = data.sources["train"][0]
    return {name: jax.ShapeDtypeStruct((4, *x.shape), x.dtype) for name, x in example.items()}


def of_model(config):
    data = data_of(config)
    info = data.sources["train"].info
    task = build_task(config, info, total_steps=data.total_steps)
    keys = {name: jax.random.key(0) for name in ("params", "dropout")}
    image = jax.ShapeDtypeStruct((2, *image_shape(task, info)), jnp.float32)
    return text(lambda image: task.model.init(keys, image, train=True), image)


def of_optim(config):
    schedule, tx = build_optimizer(config.optim, read_settings(config), data_of(config))
    params = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s, jnp.float32), PARAMS, is_leaf=lambda x: type(x) is tuple)
    return text(schedule, 1), text(tx.update, params, jax.eval_shape(tx.init, params), params)


def small(config):
    """The data of a config, and its task with a small network and without augmentation."""
    changed, form = ConfigDict(config.to_dict()), "mask" if config.task.name in ("segment", "colorize") else "image"
    changed.model = ConfigDict(SMALL[form])
    changed.augment = ConfigDict({view: {"order": ()} for view in config.augment if view.startswith("view")})
    data = data_of(config)
    return data, build_task(changed, data.sources["train"].info, total_steps=data.total_steps)


def of_step(config):
    (data, task), settings = small(config), read_settings(config)
    _, tx = build_optimizer(config.optim, settings, data)
    compiled = build_compiled(settings, data, task, tx, make_mesh())
    return text(compiled.update, compiled.abstract, compiled.batch)


def of_evaluation(config):
    data, task = small(config)
    batch = batch_of(config, data) | {"valid": jax.ShapeDtypeStruct((4,), np.float32)}
    params, model_state = jax.eval_shape(task.init, jax.random.key(0), batch)
    return text(lambda *x: (task.measure(*x), task.predict(*x[:2], x[2]["image"])), params, model_state, batch)


def of_plan(config):
    settings, data = read_settings(config), data_of(config)
    periods = {name: _period(config.evals, name, settings.eval, data.steps_per_epoch) for name in config.evals.names}
    return make_plan(SimpleNamespace(settings=settings, data=data, periods=periods)), settings.eval.batch_size


PARTS = {  # group -> what its keys must change
    "data": (of_data,),
    "augment": (of_augment,),
    "model": (of_model,),
    "optim": (of_optim,),
    "task": (of_step, of_evaluation),
    "evals": (of_plan,),
    "eval": (of_plan, of_data, of_evaluation),
    "train": (of_plan, of_data, of_step),
    "": (of_data,),
}


def parts_of(key):
    return PARTS[key.split(".")[0] if "." in key or key == "augment" else ""]


def owner(config, key):
    """The part whose option a key is: of each part every key is changed once."""
    group, *path = key.split(".")
    if group in ("data", "model", "task") and path[-1] not in ("dir", "limit", "workers"):
        return config[group].name
    if group == "optim" and len(path) > 1:
        return path[0] in (config.optim.name, config.optim.schedule)
    return config.task.name.replace("multilabel", "classify") if group == "augment" else ""


def alike(key):
    """The key in whose place it stands: the two views have the same keys."""
    return key.replace("view2", "view1") if key != "augment.view2.order" else key


def walk():
    """(config, variant, keys) so that each part's keys are there once."""
    seen = set()
    for name, variant in sorted(variants(), key=lambda x: x[1] == "efficientnet"):  # the slowest to trace
        config = CONFIGS[name]["get_config"](f"{variant},tiny")
        new = {(owner(config, key), alike(key)): key for key in flatten(config.to_dict())}
        if keys := [key for identity, key in new.items() if identity not in seen]:
            yield name, variant, keys
        seen |= new.keys()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return data_files.of_every_config(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(("name", "variant", "keys"), list(walk()), ids=lambda x: x if isinstance(x, str) else "")
def test_every_key_has_an_effect_or_is_told(name, variant, keys, data):
    config = CONFIGS[name]["get_config"](f"{variant},tiny")
    config.update({"data": {key: value for key, value in (("dir", str(data)), ("holdout", 5)) if key in config.data}})
    before, wrong = {}, []
    for key in keys:
        if key in HARMLESS or key in LATER:
            continue
        said, found = [], False
        for value in others(key, flatten(config.to_dict())[key]):
            changed = ConfigDict(config.to_dict())
            with changed.ignore_type():
                changed.update_from_flattened_dict({key: value}) if "." in key else changed.update({key: value})
            said += without_effect(changed, [key])
            found = any(differs(part, config, changed, before) for part in parts_of(key))
            if found or said:
                break
        if found == bool(said):
            wrong.append(f"{key}: {'is told to have no effect, but has one' if found else 'has no effect'}")
    assert not wrong


def differs(part, config, changed, before):
    """Whether a part of `changed` is another than that of `config`, or is refused."""
    if part not in before:
        before[part] = part(config)
    try:
        return part(changed) != before[part]
    except UserError:
        return True
