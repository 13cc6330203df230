"""Parameters by name.

A parameter is called by its modules and its array, joined by dots: `backbone.layer4.0.conv1.kernel`. Modules bear
torch's names, arrays flax's: kernel, bias, scale. Every pattern, digest and message uses this name.

Patterns are those of fnmatch and match whole names: "backbone.*", "*.bias", "layer[34].*"; a * takes dots too.
"""

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import jax
import numpy as np

from jaxcv.config import nearest
from jaxcv.errors import ConfigError


def lookup(params: Any, rules: Sequence[tuple[str, Any]], default: Any) -> Any:
    """Each parameter's value by the first of the rules (pattern, value) that matches its name, else `default`."""

    def value(path: Any, _: Any) -> Any:
        return next((value for pattern, value in rules if fnmatchcase(_name(path), pattern)), default)

    return jax.tree.map_with_path(value, params)


def matches(params: Any, patterns: Sequence[str]) -> Any:
    """True for the parameters whose name one of the patterns matches, False for the others."""
    return lookup(params, [(pattern, True) for pattern in patterns], False)


def not_bias_or_norm(params: Any) -> Any:
    """True for weight matrices and kernels; False for biases and the scales and offsets of norms, which are vectors."""
    return jax.tree.map(lambda x: x.ndim > 1, params)


def check_patterns(params: Any, patterns: Sequence[str], *, key: str) -> None:
    """Raises ConfigError for the first pattern of config.`key` that matches no parameter, with the nearest that do."""
    if isinstance(patterns, str):
        raise ConfigError(f"config.{key} must be a tuple of patterns; write ({patterns!r},).")
    names = [_name(path) for path, _ in jax.tree.leaves_with_path(params)]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            parts = [name.split(".") for name in names]
            modules = {".".join(part[:i]) + ".*" for part in parts for i in range(1, len(part))}
            hint = nearest(pattern, sorted(modules) + names)
            raise ConfigError(f"config.{key} has {pattern!r}, which matches no parameter; {hint}")


def stop_gradients(params: Any, mask: Any) -> Any:
    """The parameters, with no gradient where `mask` is True: there it is 0, and nothing is computed for it."""
    return jax.tree.map(lambda x, stopped: jax.lax.stop_gradient(x) if stopped else x, params, mask)


def digest(params: Any, mask: Any) -> str:
    """sha256, in hex, over names and bytes of the parameters where `mask` is True, sorted by name; on the host."""
    leaves = zip(jax.tree.leaves_with_path(params), jax.tree.leaves(mask), strict=True)
    chosen = {_name(path): leaf for (path, leaf), wanted in leaves if wanted}
    total = hashlib.sha256()
    for name in sorted(chosen):
        total.update(name.encode() + b"\0" + np.asarray(chosen[name]).tobytes())
    return total.hexdigest()


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
