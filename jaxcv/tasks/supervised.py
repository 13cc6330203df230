"""What the tasks share that train one network on labels: params are the network's, extra = {"batch_stats": its}."""

from collections.abc import Callable, Mapping
from typing import Any


def make_schedules(total_steps: int, **options: Any) -> dict[str, Callable]:
    """Nothing but the learning rate changes with the step."""
    return {}


def diagnose(values: Mapping[str, float]) -> str:
    """These tasks have no failure of their own that their metrics would show."""
    return ""


def get_network(params: Mapping, extra: Mapping) -> dict:
    """The network's variables: what a run exports, and other runs begin with."""
    return {"params": params} | ({"batch_stats": extra["batch_stats"]} if extra["batch_stats"] else {})


def set_network(params: Mapping, extra: Mapping, variables: Mapping) -> tuple:
    """(params, extra) of a network whose variables are `variables`."""
    return variables["params"], {**extra, "batch_stats": variables.get("batch_stats", {})}
