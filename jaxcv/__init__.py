"""jaxcv: pure-functional JAX/Flax research code for computer vision."""

__version__ = "0.1.0"
