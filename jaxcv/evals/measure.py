"""The task's own measure, exact over whole splits: its sums are added over batches and devices, and divided once."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from jaxcv.evals.evaluator import EvalSetup, Evaluator, Subject
from jaxcv.mesh import put, replicated

METRICS = ()  # which they are, the task knows


def make(setup: EvalSetup) -> Evaluator:
    """What the task's `summarize` makes of the sums of its `measure`, for every split."""
    measure = jax.jit(setup.task.measure, out_shardings=replicated(setup.mesh))

    def evaluate(subject: Subject, splits: Sequence[str]) -> dict[str, Any]:
        found = {}
        for split in splits:
            batches = (put(setup.mesh, batch) for batch in subject.batches(split))
            sums = total(measure(subject.params, subject.model_state, batch) for batch in batches)
            found |= {f"{split}/{name}": value for name, value in setup.task.summarize(sums).items()}
        return found

    return evaluate


def total(sums: Iterable[dict]) -> dict[str, np.ndarray]:
    """Adds sums over batches in float64 on the host, each fetched while the next is computed."""
    added, pending = None, None
    for new in sums:
        added, pending = _add(added, pending), new
    return _add(added, pending)


def _add(added: dict | None, new: dict | None) -> dict | None:
    if new is None:
        return added
    new = jax.tree.map(lambda x: np.asarray(x, np.float64), jax.device_get(new))
    return new if added is None else jax.tree.map(np.add, added, new)
