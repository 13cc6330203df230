"""Reads the metrics of training: logs them, and stops a run that has failed."""

import math
import time
from collections.abc import Iterator

import jax

from jaxcv.errors import UserError
from jaxcv.report.progress import Progress
from jaxcv.run.run import Run
from jaxcv.store.log import Log


class Monitor:
    """Reads metrics at log steps and before each save, a step late, so that the device never waits for the host."""

    def __init__(self, run: Run, log: Log, progress: Progress):
        self._run, self._log, self._progress = run, log, progress
        train = run.experiment.settings.train
        self._every, self._stop_on_collapse = train.log_every_steps, train.stop_on_collapse
        self._waited, self._warned = 0.0, False  # seconds waited for data since the last line of the log

    def next_batch(self, batches: Iterator[dict]) -> dict:
        """The next batch; the time spent waiting for it goes into the log."""
        before = time.monotonic()
        batch = next(batches)
        self._waited += time.monotonic() - before
        return batch

    def read(self, step: int, metrics: dict | None, *, always: bool = False) -> None:
        """Fetches and checks the metrics of the update that made `step`, at log steps or `always`; logs them at log
        steps. Raises UserError where the loss or the gradient is not finite, or training has collapsed."""
        log_step = step % self._every == 0
        if metrics is None or not (log_step or always):
            return
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        for name, what in (("loss", "the loss"), ("grad_norm", "the gradient's norm")):
            if not math.isfinite(values[name]):
                last = self._run.checkpoints.last_good()
                raise UserError(
                    f"{what} is {values[name]} at step {step}; {last}. Try a lower config.optim.lr or a "
                    "config.optim.clip_norm."
                )
        if log_step:
            self._diagnose(step, values)
            self._write(step, values)

    def _diagnose(self, step: int, values: dict[str, float]) -> None:
        warning = self._run.experiment.task.diagnose(values)
        if warning and self._stop_on_collapse:
            raise UserError(f"stopped at step {step}: {warning} {self._run.checkpoints.last_good()}.")
        if warning and not self._warned:
            self._progress.say(f"WARNING at step {step}: {warning}")
        self._warned = bool(warning)

    def _write(self, step: int, values: dict[str, float]) -> None:
        progress = self._progress
        progress.update(step, values, self._waited)
        self._waited = 0.0
        schedules = self._run.experiment.schedules
        values = values | {name: float(schedule(step - 1)) for name, schedule in schedules.items()}
        line = {f"train/{name}": value for name, value in values.items()}
        line |= {"time/images_per_second": progress.images_per_second, "time/data_wait": progress.wait_fraction}
        self._log.write(step, line)
