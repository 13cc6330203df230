"""Parameters by name.

A name is the parameter's modules and its array, joined by dots: `backbone.layer4.0.conv1.kernel`. Modules have torch's
names, arrays flax's: kernel, bias, scale. Every pattern, digest and message uses this name.

Patterns are those of fnmatch and match whole names: "backbone.*", "*.bias", "layer[34].*"; a * matches dots too.
"""

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import jax
import numpy as np

from jaxcv.config import nearest
from jaxcv.errors import ConfigError
from jaxcv.task import Tree


def lookup(params: Tree, rules: Sequence[tuple[str, Any]], default: Any) -> Tree:
    """For each parameter the value of the first of the rules (pattern, value) that matches its name, else `default`."""

    def value(path: Any, _: Any) -> Any:
        return next((value for pattern, value in rules if fnmatchcase(_name(path), pattern)), default)

    return jax.tree.map_with_path(value, params)


def matches(params: Tree, patterns: Sequence[str]) -> Tree:
    """True for the parameters whose name matches one of the patterns, False for the others."""
    return lookup(params, [(pattern, True) for pattern in patterns], False)


def not_bias_or_norm(params: Tree) -> Tree:
    """True for weight matrices and kernels; False for biases and the scales and offsets of norms, which are vectors."""
    return jax.tree.map(lambda x: x.ndim > 1, params)


def check_patterns(params: Tree, patterns: Sequence[str], *, key: str) -> None:
    """Raises ConfigError for the first pattern of config.`key` that matches no parameter, and suggests another."""
    if isinstance(patterns, str):
        raise ConfigError(f"config.{key} must be a tuple of patterns; write ({patterns!r},).")
    names = [_name(path) for path, _ in jax.tree.leaves_with_path(params)]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            parts = [name.split(".") for name in names]
            modules = {".".join(part[:i]) + ".*" for part in parts for i in range(1, len(part))}
            hint = nearest(pattern, sorted(modules) + names)
            raise ConfigError(f"config.{key} has {pattern!r}, which matches no parameter; {hint}")


def stop_gradients(params: Tree, mask: Tree) -> Tree:
    """The parameters, with a gradient of 0 where `mask` is True: nothing is computed for it."""
    return jax.tree.map(lambda x, stopped: jax.lax.stop_gradient(x) if stopped else x, params, mask)


def digest(params: Tree, mask: Tree) -> str:
    """sha256, in hex, over names and bytes of the parameters where `mask` is True, sorted by name; on the host."""
    leaves = zip(jax.tree.leaves_with_path(params), jax.tree.leaves(mask), strict=True)
    chosen = {_name(path): leaf for (path, leaf), selected in leaves if selected}
    sha256 = hashlib.sha256()
    for name in sorted(chosen):
        sha256.update(name.encode() + b"\0" + np.asarray(chosen[name]).tobytes())
    return sha256.hexdigest()


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
