"""Bootstrap Your Own Latent (arXiv 2006.07733): the online network predicts the target network's projection of
another view of the same image, and the target follows the online network as a moving average.

params = {"backbone", "projector", "predictor"}: the online network, the only one that is optimised.
model_state  = {"batch_stats": the online network's, "target": {"params", "batch_stats"}: backbone and projector}.
"""

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxcv.config import call
from jaxcv.measure import losses, metrics
from jaxcv.models.layers import BatchNorm, dense, float_dtype
from jaxcv.ops.views import make_view, make_views
from jaxcv.predict import write_features
from jaxcv.prng import streams
from jaxcv.ranges import PositiveCount, Share
from jaxcv.report import figures
from jaxcv.task import Augment, Batch, Metrics, Predict, Schedule, Setup, Task, Tree, get_variables
from jaxcv.tasks.network import make_prepare, upcast

SPREAD_FLOOR = 0.1  # training has collapsed when feature_std of the online projections is below this (1: even spread)


class Head(nn.Module):
    """The projector and the predictor: Linear, BatchNorm, ReLU, Linear without bias."""

    hidden: PositiveCount
    features: PositiveCount
    norm: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = dense(x.shape[-1], self.hidden, dtype=self.dtype, name="linear1")(x)
        if self.norm:
            x = BatchNorm(dtype=self.dtype, name="bn1")(x, train=train)
        return dense(self.hidden, self.features, use_bias=False, dtype=self.dtype, name="linear2")(nn.relu(x))


class Network(nn.Module):
    """Backbone and projector; the online network has a predictor on top, the target network none."""

    backbone: nn.Module
    projector: nn.Module
    predictor: nn.Module | None = None

    def __call__(self, image: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Returns (projection, prediction), float32 (b, d); without a predictor both are the projection."""
        feature, _ = self.backbone(image, train=train)
        projection = self.projector(feature, train=train)
        prediction = projection if self.predictor is None else self.predictor(projection, train=train)
        return upcast(projection), upcast(prediction)


def make_decay(
    total_steps: int, *, tau: Share = 0.99, tau_schedule: Literal["cosine", "constant"] = "cosine"
) -> Schedule:
    """Returns decay(step), the target's decay rate at update `step` (from 0).

    cosine: 1 - (1 - tau) (cos(pi step / total_steps) + 1) / 2, from `tau` to 1 (the paper, sec. 3.1); constant: `tau`.
    """
    if tau_schedule == "constant":
        return lambda step: jnp.full((), tau)
    return lambda step: 1 - (1 - tau) * (jnp.cos(jnp.pi * step / total_steps) + 1) / 2


def make(
    setup: Setup,
    *,
    hidden: PositiveCount = 4096,
    features: PositiveCount = 256,
    predictor: bool = True,
    head_norm: bool = True,
    target_init: Literal["separate", "copy"] = "separate",
    tau: Share = 0.99,
    tau_schedule: Literal["cosine", "constant"] = "cosine",
) -> Task:
    """BYOL of a backbone that maps images to (features, stages).

    hidden, features: widths of projector and predictor.  target_init: `separate` gives the target random parameters of
    its own, as the paper's code does; `copy` starts it as a copy of the online network.  predictor, head_norm: False
    removes the predictor, or the heads' BatchNorm, which makes BYOL collapse (the paper, sec. 5).  tau, tau_schedule:
    as of `make_decay`.
    """
    model = setup.make_model(None)
    augment = call(make_augment, setup.augment, group="augment", info=setup.info)
    predict = make_predict(model, setup.info, crop=setup.crop)
    decay = make_decay(setup.total_steps, tau=tau, tau_schedule=tau_schedule)
    head = Head(hidden, features, head_norm, float_dtype(model.dtype))
    online = Network(model, head, head.clone() if predictor else None)
    target = Network(model, head)

    def apply(network: Network, params: Tree, stats: Tree, image: jax.Array) -> tuple:
        """Projection and prediction of one view, normalised by that view alone, and the new running statistics."""
        variables = {"params": params, "batch_stats": stats}
        outputs, updated = network.apply(variables, image, train=True, mutable=["batch_stats"])
        return *outputs, updated["batch_stats"]

    def init(key: jax.Array, batch: Batch) -> tuple:
        online_key, target_key, augment_key = streams(key, "online", "target", "augment")
        image = augment(augment_key, batch)["view1"]
        first = online.init(online_key, image, train=True)
        second = target.init(target_key, image, train=True)
        target_params = _without_predictor(first["params"]) if target_init == "copy" else second["params"]
        target_state = {"params": target_params, "batch_stats": second.get("batch_stats", {})}
        return first["params"], {"batch_stats": first.get("batch_stats", {}), "target": target_state}

    def loss(params: Tree, model_state: Tree, batch: Batch, key: jax.Array) -> tuple:
        views = augment(key, batch)
        stats, target_stats = model_state["batch_stats"], model_state["target"]["batch_stats"]
        target_params = model_state["target"]["params"]
        projection, prediction1, stats = apply(online, params, stats, views["view1"])
        _, prediction2, stats = apply(online, params, stats, views["view2"])
        target1, _, target_stats = apply(target, target_params, target_stats, views["view1"])
        target2, _, target_stats = apply(target, target_params, target_stats, views["view2"])
        target1, target2 = jax.lax.stop_gradient((target1, target2))
        distance = losses.cosine_distance(prediction1, target2) + losses.cosine_distance(prediction2, target1)
        spread = metrics.feature_spread(metrics.moments(_unit(jax.lax.stop_gradient(projection))))
        target_state = {"params": target_params, "batch_stats": target_stats}
        model_state = {"batch_stats": stats, "target": target_state}
        return distance.mean(), (model_state, {**spread, "online_target_cosine": 1 - distance.mean() / 4})

    def after(params: Tree, model_state: Tree, step: jax.Array) -> Tree:
        target = model_state["target"]
        average = optax.incremental_update(_without_predictor(params), target["params"], 1 - decay(step))
        return {**model_state, "target": {**target, "params": average}}

    def measure(params: Tree, model_state: Tree, batch: Batch) -> Metrics:
        feature = predict(params, model_state, batch["image"])["feature"]
        return metrics.moments(_unit(feature), batch["valid"])

    return Task(
        *(model, init, loss, measure, metrics.feature_spread),
        after=after,
        augment=augment,
        predict=predict,
        get_network=get_network,
        set_network=set_network,
        schedules={"tau": decay},
        diagnose=diagnose,
        draw=figures.draw_features,
        write=write_features,
    )


def make_augment(info: Any, *, view1: Mapping, view2: Mapping) -> Augment:
    """augment(key, batch) -> batch with `view1` and `view2`, augmented and normalised, for `image`."""
    views = {"view1": make_view("augment.view1", **view1), "view2": make_view("augment.view2", **view2)}
    return make_views(views, mean=info.mean, std=info.std)


def make_predict(model: nn.Module, info: Any, *, crop: int = 0) -> Predict:
    """predict(params, model_state, image) -> {"feature": float32 (b, d)} of the online backbone in evaluation mode.

    image: uint8 (b, h, w, c); its central `crop` x `crop` pixels are seen (0: all).
    """
    prepare = make_prepare(info, crop=crop)

    def predict(params: Tree, model_state: Tree, image: jax.Array) -> dict[str, jax.Array]:
        feature, _ = model.apply(get_network(params, model_state), prepare(image), train=False)
        return {"feature": upcast(feature)}

    return predict


def get_network(params: Tree, model_state: Tree) -> dict[str, Tree]:
    """The variables of the online backbone: what a run exports, and other runs begin with."""
    return get_variables(params["backbone"], {"batch_stats": model_state["batch_stats"].get("backbone")})


def set_network(params: Tree, model_state: Tree, variables: Mapping[str, Tree]) -> tuple[Tree, Tree]:
    """(params, model_state) whose backbones, online and target, are `variables`."""
    target, stats = model_state["target"], {"backbone": variables.get("batch_stats", {})}
    backbone = {"backbone": variables["params"]}
    target = {"params": {**target["params"], **backbone}, "batch_stats": {**target["batch_stats"], **stats}}
    return {**params, **backbone}, {"batch_stats": {**model_state["batch_stats"], **stats}, "target": target}


def diagnose(values: Mapping[str, float]) -> str:
    """One sentence if the training metrics show a collapse, else the empty string."""
    if values["feature_std"] >= SPREAD_FLOOR:
        return ""
    return (
        f"BYOL has collapsed: the projections' feature_std is {values['feature_std']:.3g}, below {SPREAD_FLOOR} "
        f"(1 is even spread), effective rank {values['effective_rank']:.1f}."
    )


def _without_predictor(params: Mapping) -> dict:
    return {name: params[name] for name in ("backbone", "projector")}


def _unit(x: jax.Array) -> jax.Array:
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True).clip(1e-6)
