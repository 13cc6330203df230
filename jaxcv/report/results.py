"""What a finished run hands to its task's `draw`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Results(NamedTuple):
    """The data, the examples and what was predicted for them, and what was evaluated."""

    info: Any  # of the data, see jaxcv.data.source.Info
    names: Sequence[str]  # of the examples
    batch: Mapping[str, np.ndarray]  # the examples, stacked
    predictions: Mapping[int, Mapping[str, np.ndarray]]  # step -> `predict` of the examples; the last is reported
    arrays: Mapping[str, np.ndarray]  # "split/name" -> what was evaluated as an array
