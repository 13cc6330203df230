"""Are our networks torch's? Same drawn weights, same images, in evaluation and in training, with gradients.

Each make_NAME.py beside this file has CASES, {name: Case}, and `build_torch(name)`, and calls `main`, which needs torch
and torchvision, prints how far we are from them and writes NAME.npz. Importing any of them needs neither.
"""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcv.models.weights import from_torch, to_torch

QUICK = {"xla_backend_optimization_level": 0}  # compiled for one call


class Case(NamedTuple):
    """A network, without dropout, and the images that it is compared on."""

    model: nn.Module
    shape: tuple[int, int, int, int]  # b h w c
    golden: bool = True  # kept in the .npz for the tests; else compared with torch only when that is made
    aux: tuple[str, ...] = ()  # stages that are compared, and take part in the loss, besides the output


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 in [-1, 1), a function of the name and shape alone."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.random(shape, np.float32) * 2 - 1


def draw_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """A state_dict of these shapes: He-scaled kernels, scales and variances in [0.5, 1.5), the rest small."""

    def draw(name, shape):
        u = uniform(name, shape)
        if len(shape) > 1:
            return u * np.float32((6 / np.prod(shape[1:])) ** 0.5)
        return 1 + 0.5 * u if name.endswith(("weight", "running_var")) else 0.2 * u

    return {name: draw(name, shape) for name, shape in shapes.items()}


def images(name: str, case: Case, dtype: Any = np.float32) -> np.ndarray:
    """b h w c."""
    return uniform(f"image {name}", case.shape).astype(dtype) + 0.25


def abstract(case: Case, dtype: Any = jnp.float32) -> dict:
    """The shapes of the model's variables."""
    x = jax.ShapeDtypeStruct(case.shape, dtype)
    return jax.eval_shape(lambda x: case.model.init(jax.random.key(0), x, train=False), x)


def build(case: Case, dtype: Any = np.float32) -> tuple[nn.Module, dict, dict]:
    """Our model, its variables with drawn weights, and these as torch's state_dict, all of this dtype."""
    shapes = abstract(case)
    state = draw_weights({name: x.shape for name, x in to_torch(shapes_to_arrays(shapes)).items()})
    variables = jax.tree.map(lambda leaf: leaf.astype(dtype), from_torch(state, shapes))
    return case.model.clone(dtype=dtype), variables, state


def shapes_to_arrays(shapes: Any) -> Any:
    """Arrays without content and, as all values are one, without memory."""
    return jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes)


def outputs(case: Case, result: tuple) -> dict[str, jax.Array]:
    """What is compared, by name."""
    output, stages = result
    return {"output": output} | {name: stages[name] for name in case.aux}


def evaluate(case: Case, model: nn.Module, variables: dict, x: np.ndarray) -> dict[str, jax.Array]:
    """Our outputs in evaluation."""
    apply = jax.jit(lambda v, x: outputs(case, model.apply(v, x, train=False)), compiler_options=QUICK)
    return apply(variables, x)


def differentiate(case: Case, model: nn.Module, variables: dict, x: np.ndarray) -> tuple[dict, dict, dict]:
    """Our outputs in training and, by torch's names, running statistics and gradients of the mean weighted output."""

    def loss(params, rest, x):
        result, moved = model.apply(rest | {"params": params}, x, train=True, mutable=["batch_stats"])
        out = outputs(case, result)
        return sum(jnp.mean(y * cotangent(name, y)) for name, y in out.items()), (out, moved)

    params, rest = variables["params"], {name: value for name, value in variables.items() if name != "params"}
    grads, (out, moved) = jax.jit(jax.grad(loss, has_aux=True), compiler_options=QUICK)(params, rest, x)
    return out, to_torch(moved), to_torch({"params": grads})


def cotangent(name: str, y: Any) -> np.ndarray:
    """What an output is multiplied by to make a loss, the mean."""
    return uniform(f"cotangent {name}", y.shape).astype(y.dtype)


def thin(array: Any) -> np.ndarray:
    """At most some thousand of its elements, evenly taken."""
    flat = np.asarray(array).ravel()
    return flat[:: -(-flat.size // 1000)]


def probe(arrays: dict[str, Any]) -> np.ndarray:
    """(n, 2): the norm and a random projection of each array, in the order of the names."""
    # not along the weights themselves: a kernel's gradient is orthogonal to it where BatchNorm follows
    drawn = [(np.asarray(x), uniform(f"probe {name}", x.shape)) for name, x in sorted(arrays.items())]
    return np.array([[np.linalg.norm(x), np.vdot(x, u)] for x, u in drawn]).reshape(-1, 2)


def error(ours: Any, theirs: Any, floor: float = 1e-30) -> float:
    """The largest difference over the largest value; of two dicts, the worst over their arrays."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
        # a bias before BatchNorm has no gradient but rounding, which is not to be compared with itself
        floor = 1e-4 * max((np.abs(x).max() for x in theirs.values()), default=0.0)
        return max((error(ours[name], x, floor) for name, x in theirs.items()), default=0.0)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return np.abs(np.asarray(ours) - theirs).max() / max(np.abs(theirs).max(), floor)


# ------------------------------------------------------------------------------------------------------- used by tests


def check_eval(file: Path, name: str, case: Case, tolerance: float = 2e-5) -> None:
    """Our float32 outputs in evaluation are torch's float64 ones of the golden file; weights go there and back."""
    model, variables, state = build(case)
    back = to_torch(variables)
    assert back.keys() == state.keys() and all(np.array_equal(back[key], state[key]) for key in state)
    out = evaluate(case, model, variables, images(name, case))
    with np.load(file, allow_pickle=False) as golden:
        for key, y in out.items():
            assert error(thin(y), golden[f"{name}/eval/{key}"]) < tolerance


def check_train(file: Path, name: str, case: Case, tolerance: float = 1e-9) -> None:
    """Our float64 outputs, statistics and gradients in training are those of the golden file."""
    # In float32 the gradients need not be: one ReLU flipped by rounding moves them by 1e-2, torch's own too.
    with jax.enable_x64(True):
        model, variables, _ = build(case, np.float64)
        out, stats, grads = differentiate(case, model, variables, images(name, case, np.float64))
    with np.load(file, allow_pickle=False) as golden:
        for key, y in out.items():
            assert error(thin(y), golden[f"{name}/train/{key}"]) < tolerance
        for key, arrays in (("stats", stats), ("grads", grads)):
            expected = golden[f"{name}/{key}"]
            scale = np.maximum(expected[:, :1], expected[:, :1].max(initial=0) * 1e-4)  # as in `error`
            np.testing.assert_allclose(probe(arrays) / scale, expected / scale, rtol=0, atol=tolerance)


def count(model: nn.Module, shape: tuple[int, ...]) -> int:
    """The number of parameters for images of this shape (b h w c), without computing anything."""
    return sum(leaf.size for leaf in jax.tree.leaves(abstract(Case(model, shape))["params"]))


def sizes(model: nn.Module, shape: tuple[int, ...]) -> tuple[tuple, dict[str, tuple]]:
    """The shapes of output and stages for images of this shape (b h w c), without computing anything."""
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    output, stages = jax.eval_shape(lambda v, x: model.apply(v, x, train=False), abstract(Case(model, shape)), x)
    return output.shape, {name: stage.shape for name, stage in stages.items()}


def train_sizes(model: nn.Module, shape: tuple[int, ...], **rngs: jax.Array) -> tuple:
    """The shapes of ((output, stages), moved statistics) in training, without computing anything."""
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = abstract(Case(model, shape))
    return jax.eval_shape(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"], rngs=rngs), variables, x)


# ------------------------------------------------------------------------------------------------------ used by make_*


def import_torchvision() -> Any:
    """torchvision, whose compiled operators may not load, and are not needed."""
    import torch

    register = torch.library.register_fake
    torch.library.register_fake = lambda name, *args, **kwargs: (
        (lambda f: f) if str(name).startswith("torchvision::") else register(name, *args, **kwargs)
    )
    import torchvision

    torch.library.register_fake = register
    return torchvision


def torch_numbers(case: Case, net: Any, state: dict[str, np.ndarray], x: np.ndarray) -> tuple:
    """torch's outputs in evaluation and in training, running statistics and gradients.

    `net` maps NCHW to its output, or to a dict with "output" and the case's `aux`.
    """
    import torch

    def forward(x):
        out = net(x)
        return out if isinstance(out, dict) else {"output": out}

    def last(y):
        return y.permute(0, 2, 3, 1) if y.ndim == 4 else y

    left = net.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()}, strict=False)
    assert not left.unexpected_keys and all(k.endswith("num_batches_tracked") for k in left.missing_keys), left
    x = torch.from_numpy(x).permute(0, 3, 1, 2)
    net = net.to(x.dtype)
    with torch.no_grad():
        evaluated = {name: last(y).numpy() for name, y in forward_eval(net, forward, x).items()}
    out = {name: last(y) for name, y in forward(x).items()}
    sum((y * torch.from_numpy(cotangent(name, y.detach().numpy()))).mean() for name, y in out.items()).backward()
    stats = {k: v.numpy() for k, v in net.state_dict().items() if k.endswith(("running_mean", "running_var"))}
    grads = {k: v.grad.numpy() for k, v in net.named_parameters()}
    return evaluated, {name: y.detach().numpy() for name, y in out.items()}, stats, grads


def forward_eval(net: Any, forward: Callable, x: Any) -> dict:
    """The outputs in evaluation; leaves the network in training mode."""
    net.eval()
    out = forward(x)
    net.train()
    return out


def main(file: Path, cases: dict[str, Case], build_torch: Callable[[str], Any]) -> None:
    """Compares all cases with torch, prints the worst relative errors, and writes the goldens."""
    jax.config.update("jax_enable_x64", True)
    golden = {}
    print("worst relative error of: evaluation, training, running statistics, gradients")
    for name, case in cases.items():
        exact = None
        for dtype in (np.float64, np.float32):
            model, variables, state = build(case, dtype)
            round_trip = to_torch(from_torch(state, abstract(case)))
            assert round_trip.keys() == state.keys()
            assert all(np.array_equal(round_trip[k], state[k]) for k in state), "the round trip changed a bit"
            x = images(name, case, dtype)
            theirs = torch_numbers(case, build_torch(name), state, x)
            ours = (evaluate(case, model, variables, x), *differentiate(case, model, variables, x))
            exact = exact or theirs
            pairs = {"jaxcv to torch": (ours, theirs)}
            if theirs is not exact:
                pairs |= {"jaxcv to float64": (ours, exact), "torch to float64": (theirs, exact)}
            for title, pair in pairs.items():
                errors = [f"{error(a, b):.1e}" for a, b in zip(*pair)]
                print(f"{name:24} {np.dtype(dtype)} {title:16}", *errors, sep="   ", flush=True)
        if case.golden:
            evaluated, trained, stats, grads = exact
            golden |= {f"{name}/eval/{key}": thin(y) for key, y in evaluated.items()}
            golden |= {f"{name}/train/{key}": thin(y) for key, y in trained.items()}
            golden |= {f"{name}/stats": probe(stats), f"{name}/grads": probe(grads)}
    np.savez_compressed(file, **golden)
    print(f"{file.name}: {file.stat().st_size} bytes")
