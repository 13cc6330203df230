"""torch's numbers for ResNet and its layers: `python tests/goldens/make_resnet.py` writes resnet.npz and
prints how far each depth is from torchvision. That needs torch and torchvision; importing this does not."""

import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.models import resnet
from jaxcv.models.weights import from_torch, to_torch

FILE = Path(__file__).with_name("resnet.npz")
CLASSES = 10
SMALL = 0  # stands for depth 18 with the stem for small images
POOLS = {"3-2-1": (3, 2, 1), "2-2-0": (2, 2, 0), "3-1-1": (3, 1, 1), "3-3-0": (3, 3, 0)}
SIZES = (1, 3, 9)
CONV = {"stride": 2, "padding": 3, "dilation": 2, "groups": 3}


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 in [-1, 1), a function of the name and shape alone."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.random(shape, np.float32) * 2 - 1


def weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """A state_dict of these shapes: He-scaled kernels, scales and variances in [0.5, 1.5), the rest small."""

    def draw(name, shape):
        u = uniform(name, shape)
        if len(shape) > 1:
            return u * np.float32((6 / np.prod(shape[1:])) ** 0.5)
        return 1 + 0.5 * u if name.endswith(("weight", "running_var")) else 0.2 * u

    return {name: draw(name, shape) for name, shape in shapes.items()}


def image(depth: int, dtype: np.dtype) -> np.ndarray:
    """Four images, b h w c, of 64 pixels, or 32 for the small stem."""
    size = 32 if depth == SMALL else 64
    return uniform(f"image{depth}", (4, size, size, 3)).astype(dtype) + 0.25


def cotangent(dtype: np.dtype) -> np.ndarray:
    """What the logits are multiplied by to make a loss, their mean."""
    return uniform("cotangent", (4, CLASSES)).astype(dtype)


def probe(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """(n, 2): the norm and a random projection of each array, in the order of the names."""
    # not along the weights themselves: a kernel's gradient is orthogonal to it where BatchNorm follows
    drawn = [(x, uniform(f"probe {name}", x.shape)) for name, x in sorted(arrays.items())]
    return np.array([[np.linalg.norm(x), np.vdot(x, u)] for x, u in drawn])


def build(depth: int, dtype: np.dtype) -> tuple[resnet.Model, dict]:
    """jaxcv's model and its variables with `weights`, all of this dtype."""
    stem = "small" if depth == SMALL else "imagenet"
    model = resnet.Model(depth or 18, num_classes=CLASSES, stem=stem, dtype=dtype)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image(depth, dtype))
    empty = to_torch(jax.tree.map(lambda leaf: np.empty(leaf.shape), shapes))
    variables = from_torch(weights({name: x.shape for name, x in empty.items()}), shapes)
    return model, jax.tree.map(lambda leaf: leaf.astype(dtype), variables)


def evaluate(model: resnet.Model, variables: dict, x: np.ndarray) -> jax.Array:
    """jaxcv's logits in evaluation."""
    return jax.jit(lambda variables, x: model.apply(variables, x, train=False)[0])(variables, x)


def differentiate(model: resnet.Model, variables: dict, x: np.ndarray) -> tuple:
    """jaxcv's logits in training and, with torch's names, running statistics and gradients."""

    def loss(params, x):
        (logits, _), moved = model.apply(variables | {"params": params}, x, train=True, mutable=["batch_stats"])
        return jnp.mean(logits * cotangent(x.dtype)), (logits, moved)

    grads, (logits, moved) = jax.jit(jax.grad(loss, has_aux=True))(variables["params"], x)
    return logits, to_torch(moved), to_torch({"params": grads})


def torch_network(depth: int, dtype: np.dtype, state: dict[str, np.ndarray]) -> tuple:
    """torchvision's evaluation logits, training logits, running statistics and gradients."""
    import torch

    register = torch.library.register_fake  # torchvision's compiled operators may not load, and are not needed
    torch.library.register_fake = lambda name, *args, **kwargs: (
        (lambda f: f) if str(name).startswith("torchvision::") else register(name, *args, **kwargs)
    )
    import torchvision

    torch.library.register_fake = register
    net = getattr(torchvision.models, f"resnet{depth or 18}")(num_classes=CLASSES)
    if depth == SMALL:
        net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        net.maxpool = torch.nn.Identity()
    net.load_state_dict({name: torch.from_numpy(x) for name, x in state.items()})
    x = torch.from_numpy(image(depth, dtype)).permute(0, 3, 1, 2)
    net = net.to(x.dtype)
    with torch.no_grad():
        evaluated = net.eval()(x).numpy()
    trained = net.train()(x)
    (trained * torch.from_numpy(cotangent(dtype))).mean().backward()
    stats = {k: v.numpy() for k, v in net.state_dict().items() if k.endswith(("mean", "var"))}
    grads = {k: v.grad.numpy() for k, v in net.named_parameters()}
    return evaluated, trained.detach().numpy(), stats, grads


def torch_layers() -> dict[str, np.ndarray]:
    """torch's outputs of single layers."""
    import torch
    from torch.nn import functional as F

    def nchw(x):
        return torch.from_numpy(x).permute(0, 3, 1, 2)

    def nhwc(x):
        return x.detach().permute(0, 2, 3, 1).numpy()

    out = {}
    shape = (4, 3, 2, 5)
    norm = torch.nn.BatchNorm2d(5)
    state = weights({"weight": (5,), "bias": (5,)})
    norm.load_state_dict({name: torch.from_numpy(x) for name, x in state.items()}, strict=False)
    for step in range(3):
        x = nchw(uniform(f"norm{step}", shape) + 2 * step).requires_grad_()
        y = norm(x)
        norm.zero_grad()
        (y * nchw(uniform("cotangent", shape))).sum().backward()
        out[f"norm/{step}/output"] = nhwc(y)
        out[f"norm/{step}/grad"] = nhwc(x.grad)
        out[f"norm/{step}/mean"] = norm.running_mean.numpy().copy()
        out[f"norm/{step}/var"] = norm.running_var.numpy().copy()
    out["norm/scale_grad"] = norm.weight.grad.numpy()
    out["norm/bias_grad"] = norm.bias.grad.numpy()
    out["norm/eval"] = nhwc(norm.eval()(nchw(uniform("norm0", shape))))

    x = nchw(uniform("pool", (1, 8, 7, 2)))
    for name, arguments in POOLS.items():
        out[f"max_pool/{name}"] = nhwc(F.max_pool2d(x, *arguments))
        out[f"avg_pool/{name}"] = nhwc(F.avg_pool2d(x, *arguments))
    for size in SIZES:
        out[f"adaptive_avg_pool/{size}"] = nhwc(F.adaptive_avg_pool2d(x, size))
    x = nchw(uniform("conv", (1, 8, 7, 6)))
    out["conv"] = nhwc(F.conv2d(x, torch.from_numpy(uniform("conv.weight", (9, 2, 3, 3))), **CONV))
    return out


def error(ours, theirs) -> float:
    """The largest difference over the largest value; of two dicts, the worst over their arrays."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        return max(error(ours[name], theirs[name]) for name in theirs)
    return np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()


def main():
    jax.config.update("jax_enable_x64", True)
    out = torch_layers()
    print("worst relative error of: logits in evaluation, logits in training, running statistics, gradients")
    for depth in (SMALL, *resnet.STAGES):
        exact = None
        for dtype in (np.float64, np.float32):
            model, variables = build(depth, dtype)
            theirs = torch_network(depth, dtype, weights({k: x.shape for k, x in to_torch(variables).items()}))
            x = image(depth, dtype)
            ours = (evaluate(model, variables, x), *differentiate(model, variables, x))
            exact = exact or theirs
            pairs = {"jaxcv to torch": (ours, theirs)}
            if theirs is not exact:
                pairs |= {"jaxcv to float64": (ours, exact), "torch to float64": (theirs, exact)}
            for name, pair in pairs.items():
                errors = [f"{error(a, b):.1e}" for a, b in zip(*pair)]
                print(f"{depth:3} {np.dtype(dtype)} {name:16}", *errors, sep="   ", flush=True)
        evaluated, trained, stats, grads = exact
        if depth == SMALL:
            out["small/eval"] = evaluated
        if depth in (18, 50):
            out |= {f"{depth}/eval": evaluated, f"{depth}/train": trained}
            out |= {f"{depth}/stats": probe(stats), f"{depth}/grads": probe(grads)}
    np.savez_compressed(FILE, **out)
    print(f"{FILE.name}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
