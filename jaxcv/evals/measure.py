"""The task's own measure, exact over whole splits: its sums are added over batches and devices, and divided once."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from jaxcv.evals.evaluator import EvalSetup, Evaluator, Subject
from jaxcv.evals.features import fetch
from jaxcv.mesh import put, replicated
from jaxcv.task import Metrics

METRICS: dict = {}


def make(setup: EvalSetup) -> Evaluator:
    """What the task's `summarize` makes of the sums of its `measure`, for every split."""
    measure = jax.jit(setup.task.measure, out_shardings=replicated(setup.mesh))

    def evaluate(subject: Subject, splits: Sequence[str]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for split in splits:
            batches = (put(setup.mesh, batch) for batch in subject.batches(split))
            sums = total(measure(subject.params, subject.model_state, batch) for batch in batches)
            values |= {f"{split}/{name}": value for name, value in setup.task.summarize(sums).items()}
        return values

    return evaluate


def total(sums: Iterable[Metrics]) -> dict[str, np.ndarray]:
    """Adds sums over batches, in float64 on the host."""
    each = ({name: np.asarray(x, np.float64) for name, x in batch.items()} for batch in fetch(sums))
    return functools.reduce(functools.partial(jax.tree.map, np.add), each)
