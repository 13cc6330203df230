"""torch's learning rates and optimiser steps: `cd tests; python -m goldens.make_optim` writes optim.npz, with torch."""

from pathlib import Path
from typing import Any

import numpy as np

from goldens.parity import uniform

FILE = Path(__file__).with_name("optim.npz")

LR, EPOCHS, EPOCH = 0.1, 8, 5  # EPOCH: steps per epoch
TOTAL, WARMUP = EPOCHS * EPOCH, 7  # steps

SCHEDULES = {  # name -> arguments of make_schedule, besides those above
    "constant": {"name": "constant"},
    "step": {"name": "step", "options": {"every_epochs": 2, "gamma": 0.9}},
    "step_warmup": {"name": "step", "options": {"every_steps": 10}, "warmup_steps": WARMUP},
    "multi_step": {"name": "multi_step", "options": {"milestones_epochs": (3, 4, 7), "gamma": 0.5}},
    "multi_step_steps": {"name": "multi_step", "options": {"milestones_steps": (3, 19)}},
    "cosine": {"name": "cosine", "options": {"final_lr": 0.02}},
    "cosine_warmup": {"name": "cosine", "warmup_steps": WARMUP},
    "poly": {"name": "poly"},
    "poly_warmup": {"name": "poly", "options": {"power": 2.0}, "warmup_steps": WARMUP},
    "one_cycle": {"name": "one_cycle"},
    "one_cycle_linear": {
        "name": "one_cycle",
        "options": {"pct_start": 0.21, "div_factor": 5.0, "final_div_factor": 100.0, "anneal": "linear"},
    },
}

OPTIMIZERS = {  # name -> arguments of make_optimizer, and torch's
    "sgd": ({"name": "sgd", "options": {"momentum": 0.0}}, {}),
    "momentum": ({"name": "sgd"}, {"momentum": 0.9}),
    "nesterov": ({"name": "sgd", "options": {"nesterov": True}}, {"momentum": 0.9, "nesterov": True}),
    "rmsprop": ({"name": "rmsprop"}, {}),
    "rmsprop_momentum": (
        {"name": "rmsprop", "options": {"alpha": 0.9, "eps": 1e-2, "momentum": 0.8}},
        {"alpha": 0.9, "eps": 1e-2, "momentum": 0.8},
    ),
    "adam": ({"name": "adam"}, {}),
    "adamw": ({"name": "adamw", "options": {"b1": 0.8, "b2": 0.99, "eps": 1e-2}}, {"betas": (0.8, 0.99), "eps": 1e-2}),
}
TORCH = {"sgd": "SGD", "rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW"}
DECAY, STEPS = 0.1, 8
GROUPS = {"lr": 0.1, "decay": 0.0}  # of the bias in a second run: the factor of its learning rate, and its decay


def problem() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Parameters, x and y of a linear regression, float64; the loss is mean((x kernel + bias - y)^2)."""
    params = {"kernel": uniform("kernel", (4, 3)), "bias": uniform("bias", (3,))}
    params = {name: value.astype(np.float64) for name, value in params.items()}
    return params, uniform("x", (6, 4)).astype(np.float64), uniform("y", (6, 3)).astype(np.float64)


def torch_rates() -> dict[str, list[float]]:
    """The learning rate of each step, TOTAL of them."""
    import torch
    from torch.optim import lr_scheduler as s

    def follow(build: Any, every: int = 1) -> list[float]:
        """The scheduler moves on after each `every` steps."""
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
        scheduler, rates = build(optimizer), []
        for i in range(TOTAL):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if (i + 1) % every == 0:
                scheduler.step()
        return rates

    def after_warmup(build: Any) -> Any:
        def join(o):
            return s.SequentialLR(o, [s.LambdaLR(o, lambda i: i / WARMUP), build(o)], [WARMUP])

        return join

    def warm_step(o):
        return s.ChainedScheduler([s.LinearLR(o, 1e-12, 1.0, WARMUP), s.StepLR(o, 10)])

    rest = TOTAL - WARMUP
    cycle = {"pct_start": 0.21, "div_factor": 5.0, "final_div_factor": 100.0, "anneal_strategy": "linear"}
    return {
        "constant": follow(lambda o: s.ConstantLR(o, 1.0)),
        "step": follow(lambda o: s.StepLR(o, 2, 0.9), EPOCH),
        "step_warmup": follow(warm_step),
        "multi_step": follow(lambda o: s.MultiStepLR(o, [3, 4, 7], 0.5), EPOCH),
        "multi_step_steps": follow(lambda o: s.MultiStepLR(o, [3, 19])),
        "cosine": follow(lambda o: s.CosineAnnealingLR(o, TOTAL, 0.02)),
        "cosine_warmup": follow(after_warmup(lambda o: s.CosineAnnealingLR(o, rest))),
        "poly": follow(lambda o: s.PolynomialLR(o, TOTAL, 0.9)),
        "poly_warmup": follow(after_warmup(lambda o: s.PolynomialLR(o, rest, 2.0))),
        "one_cycle": follow(lambda o: s.OneCycleLR(o, LR, TOTAL, cycle_momentum=False)),
        "one_cycle_linear": follow(lambda o: s.OneCycleLR(o, LR, TOTAL, cycle_momentum=False, **cycle)),
    }


def torch_steps(kind: str, options: dict[str, Any], *, groups: bool) -> dict[str, np.ndarray]:
    """The parameters after STEPS steps with the decay DECAY."""
    import torch

    params, x, y = problem()
    params = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    listed = [{"params": [params["kernel"]]}, {"params": [params["bias"]]}]
    if groups:
        listed[1] |= {"lr": LR * GROUPS["lr"], "weight_decay": GROUPS["decay"]}
    optimizer = getattr(torch.optim, TORCH[kind])(listed, lr=LR, weight_decay=DECAY, **options)
    for _ in range(STEPS):
        optimizer.zero_grad()
        ((x @ params["kernel"] + params["bias"] - y) ** 2).mean().backward()
        optimizer.step()
    return {name: value.detach().numpy() for name, value in params.items()}


def main() -> None:
    made = {f"schedule/{name}": np.array(rates) for name, rates in torch_rates().items()}
    for name, (ours, theirs) in OPTIMIZERS.items():
        for suffix in ("", "/groups"):
            steps = torch_steps(ours["name"], theirs, groups=bool(suffix))
            made |= {f"optimizer/{name}{suffix}/{key}": value for key, value in steps.items()}
    np.savez_compressed(FILE, **made)
    print(f"{FILE.name}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
