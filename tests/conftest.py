"""One strict session: 4 CPU devices, no silent broadcasting, no reused or legacy keys, warnings are errors."""

import jax
from absl import flags

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_legacy_prng_key", "error")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_disable_most_optimizations", True)  # compiled for one or two calls
flags.FLAGS.mark_as_parsed()  # grain reads absl's flags
