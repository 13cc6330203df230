"""What the tasks share that train one network on labels: params are the network's, model_state its batch_stats."""

from collections.abc import Callable, Mapping
from typing import Any


def make_schedules(total_steps: int, **options: Any) -> dict[str, Callable]:
    """Nothing but the learning rate changes with the step."""
    return {}


def diagnose(values: Mapping[str, float]) -> str:
    """These tasks have no failure of their own that their metrics would show."""
    return ""


def get_network(params: Mapping, model_state: Mapping) -> dict:
    """The network's variables: what a run exports, and other runs begin with."""
    return {"params": params} | ({"batch_stats": model_state["batch_stats"]} if model_state["batch_stats"] else {})


def set_network(params: Mapping, model_state: Mapping, variables: Mapping) -> tuple:
    """(params, model_state) of a network whose variables are `variables`."""
    return variables["params"], {**model_state, "batch_stats": variables.get("batch_stats", {})}
