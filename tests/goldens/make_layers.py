"""torch's numbers for single layers: `cd tests; python -m goldens.make_layers` writes layers.npz. That needs torch."""

from pathlib import Path

import numpy as np

from goldens.parity import draw_weights, uniform

FILE = Path(__file__).with_name("layers.npz")
POOLS = {"3-2-1": (3, 2, 1), "2-2-0": (2, 2, 0), "3-1-1": (3, 1, 1), "3-3-0": (3, 3, 0)}
SIZES = (1, 3, 9)
CONV = {"stride": 2, "padding": 3, "dilation": 2, "groups": 3}
TRANSPOSED = {  # kernel, stride, padding, output_padding
    "3-2-1-1": (3, 2, 1, 1),
    "4-2-1-0": (4, 2, 1, 0),
    "5-2-2-1": (5, 2, 2, 1),
    "16-8-0-0": (16, 8, 0, 0),
    "2-2-0-0": (2, 2, 0, 0),
}
RESIZED = ((9, 13), (16, 14), (3, 4), (8, 7))


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
    state = draw_weights({"weight": (5,), "bias": (5,)})
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
    for name, (kernel, stride, padding, extra) in TRANSPOSED.items():
        weight = torch.from_numpy(uniform("transposed.weight", (6, 4, kernel, kernel)))
        bias = torch.from_numpy(uniform("transposed.bias", (4,)))
        out[f"conv_transpose/{name}"] = nhwc(F.conv_transpose2d(x, weight, bias, stride, padding, extra))
    for size in RESIZED:
        out[f"resize/{size[0]}-{size[1]}"] = nhwc(F.interpolate(x, size, mode="bilinear", align_corners=False))
    out["upsample"] = nhwc(F.interpolate(x, scale_factor=3, mode="nearest"))
    out["flatten"] = x.flatten(1).numpy()
    return out


if __name__ == "__main__":
    np.savez_compressed(FILE, **torch_layers())
    print(f"{FILE.name}: {FILE.stat().st_size} bytes")
