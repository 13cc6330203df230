"""Ranges of options, written where the options are: `def optimizer(..., *, momentum: Fraction = 0.9)`.

`jaxcv.config.call` refuses a value outside of its option's range before anything runs, so a new part brings its own.
"""

import math
from typing import Annotated, Any, NamedTuple


class Range(NamedTuple):
    """Numbers between `low` and `high`; the ends belong to it unless they are `open`."""

    low: float = -math.inf
    high: float = math.inf
    open: str = ""  # "(" without low, ")" without high, "()" without either

    def holds(self, value: Any) -> bool:
        """Whether a number, or each of those in a tuple or list of them, is in the range; NaN is not."""
        if isinstance(value, tuple | list):
            return all(map(self.holds, value))
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        above = self.low < value if "(" in self.open else self.low <= value
        return above and (value < self.high if ")" in self.open else value <= self.high)

    def __str__(self) -> str:
        if self.low == -math.inf and self.high == math.inf:
            return "a finite number"
        if self.high == math.inf:
            return f"above {self.low}" if "(" in self.open else f"{self.low} or more"
        left = "(" if "(" in self.open else "["
        return f"in {left}{self.low}, {self.high}{')' if ')' in self.open else ']'}"


Finite = Annotated[float, Range(open="()")]
NonNegative = Annotated[float, Range(0, math.inf, ")")]
Positive = Annotated[float, Range(0, math.inf, "()")]
Share = Annotated[float, Range(0, 1)]  # a probability, a part of a whole
Decay = Annotated[float, Range(0, 1, ")")]  # a share that is less than all
Count = Annotated[int, Range(0)]
PositiveCount = Annotated[int, Range(1)]
Byte = Annotated[int, Range(0, 255)]
PositiveCounts = Annotated[tuple[int, ...], Range(1)]
