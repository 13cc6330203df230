"""What the `draw` of a task gets when a run has finished."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Results(NamedTuple):
    """The data, the examples with their predictions, and what was measured."""

    info: Any  # jaxcv.data.source.Info
    names: Sequence[str]  # of the examples
    batch: Mapping[str, np.ndarray]  # the examples, stacked
    predictions: Mapping[int, Mapping[str, np.ndarray]]  # step -> `predict` of the examples; the last is reported
    arrays: Mapping[str, np.ndarray]  # "split/name" -> the measured arrays
