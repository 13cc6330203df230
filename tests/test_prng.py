"""Keys are functions of (seed, stream name, step)."""

import jax
import numpy as np

from jaxcv.prng import stream, streams


def bits(key):
    return tuple(np.asarray(jax.random.key_data(key)).tolist())


def test_a_stream_depends_on_its_name_alone():
    a, b = streams(jax.random.key(0), "a", "b")
    c, again = streams(jax.random.key(0), "c", "a")
    assert bits(a) == bits(again) == bits(stream(jax.random.key(0), "a"))
    assert len({bits(a), bits(b), bits(c), bits(stream(jax.random.key(1), "a"))}) == 4


def test_the_bits_never_change():
    """A resumed run draws what an uninterrupted one drew, also with another version of this code."""
    assert bits(stream(jax.random.key(0), "train")) == (2561911289, 2218184944)
