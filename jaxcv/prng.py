"""Every random number is a function of (seed, stream, step or index).

A stream is a name. Adding one moves no other, and nothing random is ever saved: step k draws the same numbers
in a resumed run as in an uninterrupted one, on any number of devices.
"""

import zlib

import jax


def stream(key: jax.Array, name: str) -> jax.Array:
    """The key of the stream called `name` under `key` (a typed scalar key)."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def streams(key: jax.Array, *names: str) -> tuple[jax.Array, ...]:
    """One key for each name, in the order of the names."""
    return tuple(stream(key, name) for name in names)
