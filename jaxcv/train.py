"""The story of a run: start or resume, train, evaluate, save, report."""

import json
import math
import shlex
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxcv.checkpoint import Checkpoints, locked
from jaxcv.config import HARMLESS, changes, steps
from jaxcv.errors import UserError
from jaxcv.evaluate import make_evaluate
from jaxcv.experiment import Experiment, build, open_batches
from jaxcv.mesh import put
from jaxcv.prng import stream
from jaxcv.report import figures
from jaxcv.report.log import Log, open_log, read_metrics, write_json
from jaxcv.report.manifest import manifest
from jaxcv.report.progress import Progress
from jaxcv.report.tables import closing_table
from jaxcv.step import TrainState


def run(config: Any, workdir: Path) -> dict[str, float]:
    """Trains what `config` describes in `workdir`, from the latest checkpoint there if there is one.

    Returns the values of the last evaluation, {} if a signal stopped the run before its end. Raises UserError for
    whatever the user can mend.
    """
    with ExitStack() as stack:
        stack.enter_context(locked(workdir))
        stopping = stack.enter_context(_signals())
        experiment = build(config)
        checkpoints = Checkpoints(workdir)
        stack.callback(checkpoints.close)
        start = checkpoints.latest()
        _write_config(config, workdir, resuming=start is not None)
        if start is None:
            write_json(workdir / "manifest.json", _manifest(config, experiment, workdir))
            state = None
        else:
            state = checkpoints.restore(start, experiment.abstract)
        log = stack.enter_context(open_log(workdir, step=-1 if start is None else start))
        step = _train(config, workdir, experiment, checkpoints, log, state, stopping)
        if step < experiment.total_steps:
            print(f"Stopped at step {step} of {experiment.total_steps}, which is saved. To go on: {_command()}")
            return {}
    return _report(workdir, experiment)


def _train(
    config: Any,
    workdir: Path,
    experiment: Experiment,
    checkpoints: Checkpoints,
    log: Log,
    state: TrainState | None,
    stopping: list,
) -> int:
    """Trains to the last step, or to the one at which a signal came. Returns the number of steps done."""
    total = experiment.total_steps
    per_epoch = {"steps_per_epoch": experiment.steps_per_epoch}
    eval_every = steps(config.eval, "every", group="eval", **per_epoch)
    save_every = steps(config.train, "save_every", group="train", **per_epoch)
    evaluate = make_evaluate(
        experiment,
        batch_size=config.eval.batch_size,
        knn=config.eval.knn.to_dict(),
        probe=config.eval.probe.to_dict(),
    )
    start = 0 if state is None else int(state.step)

    with (
        open_batches(experiment, config, start=start) as host_batches,
        Progress(total, start=start, images_per_step=config.train.batch_size) as progress,
    ):
        watch = _Watch(config, experiment, checkpoints, log, progress)

        def evaluated(step: int) -> float | None:
            """Evaluates, logs, draws; returns the score by which the best checkpoint is kept."""
            # Nothing is chosen by the test split, and it is looked at only at the beginning and at the end.
            splits = ("val", "test") if step in (0, total) else ("val",)
            with progress.paused("evaluating"):
                values = evaluate(state, splits)
            log.write(step, values)
            progress.say(f"step {step}: " + "  ".join(f"{k} {v:.4f}" for k, v in values.items() if "accuracy" in k))
            figures.curves(read_metrics(workdir), workdir / "figures" / "curves.png")
            return values.get(config.eval.best)

        if state is None:
            first = next(host_batches)
            host_batches = chain([first], host_batches)
            with progress.paused("starting"):
                state = experiment.init(put(experiment.mesh, first))
                _draw_start(workdir, config.seed, experiment, first)
            evaluated(0)
        else:
            progress.say(f"Resumed at step {start} of {total}.")

        batches = read_ahead(host_batches, experiment.mesh)
        step, metrics = start, None
        stop = False
        while step < total and not stop:
            batch = watch.wait_for(batches)
            previous = step, metrics
            with jax.transfer_guard("disallow"), progress.paused("compiling") if step == start else nullcontext():
                state, metrics = experiment.update(state, batch)
            step += 1
            watch.read(*previous)  # the last step's numbers, now that this one is on its way
            eval_now = step == total or (eval_every and step % eval_every == 0)
            stop = bool(stopping)  # asked once in each step: what stops the run also saves it
            if eval_now or stop or (save_every and step % save_every == 0):
                watch.read(step, metrics, must=True)
                metrics = None
                score = evaluated(step) if eval_now else None
                with progress.paused("saving"):
                    checkpoints.save(step, state, score=score)
        return step


class _Watch:
    """Reads the train step's metrics at log steps and before each save: logs them, and stops a run that has failed."""

    def __init__(self, config: Any, experiment: Experiment, checkpoints: Checkpoints, log: Log, progress: Progress):
        self.every, self.stop = config.train.log_every_steps, config.train.stop_on_collapse
        self.schedules, self.diagnose = experiment.schedules, experiment.diagnose
        self.checkpoints, self.log, self.progress = checkpoints, log, progress
        self.waited, self.warned = 0.0, False  # seconds since the last line

    def wait_for(self, batches: Iterator[dict]) -> dict:
        """The next batch, with the time it took to come kept for the log."""
        before = time.monotonic()
        batch = next(batches)
        self.waited += time.monotonic() - before
        return batch

    def read(self, step: int, metrics: dict | None, *, must: bool = False) -> None:
        """Fetches and checks the metrics of the update that made `step` at log steps, or if it `must`."""
        logged = step % self.every == 0
        if metrics is None or not (logged or must):
            return
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not math.isfinite(values["loss"]):
            raise UserError(
                f"the loss is {values['loss']} at step {step}; {self._last_good()} Try a lower config.optim.lr or a "
                "config.optim.clip_norm."
            )
        if not logged:
            return
        warning = self.diagnose(values)
        if warning and self.stop:
            raise UserError(f"stopped at step {step}: {warning} {self._last_good()}")
        if warning and not self.warned:
            self.progress.say(f"WARNING at step {step}: {warning}")
        self.warned = bool(warning)
        self.progress.update(step, values, self.waited)
        self.waited = 0.0
        values |= {name: float(schedule(step - 1)) for name, schedule in self.schedules.items()}
        line = {f"train/{name}": value for name, value in values.items()}
        line["time/images_per_second"] = self.progress.images_per_second
        line["time/data_wait"] = self.progress.wait_fraction
        self.log.write(step, line)

    def _last_good(self) -> str:
        latest = self.checkpoints.latest()
        return "nothing was saved." if latest is None else f"the last good checkpoint is step {latest}."


def read_ahead(batches: Iterable[dict], mesh: Mesh, *, depth: int = 2) -> Iterator[dict]:
    """The batches on the devices, each placed there while the `depth` before it are still to be used."""
    queue = deque()
    for batch in batches:
        queue.append(put(mesh, batch))
        if len(queue) > depth:
            yield queue.popleft()


@contextmanager
def _signals() -> Iterator[list]:
    """Yields a list that is empty until SIGTERM or Ctrl-C asks the run to stop; a second one ends the process."""
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        if asked:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        asked.append(number)
        print("Stopping after this step; once more to stop at once.", file=sys.stderr)

    old = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _write_config(config: Any, workdir: Path, *, resuming: bool) -> None:
    """Keeps the resolved config beside the run; a run is resumed only by the config that it began with."""
    path, new = workdir / "config.json", json.loads(config.to_json())
    if resuming and path.exists():
        different = changes(json.loads(path.read_text()), new, but=HARMLESS)
        if different:
            more = f" and {len(different) - 1} more" if len(different) > 1 else ""
            raise UserError(
                f"{workdir} holds a run of another config ({different[0]}{more}); resume it with the config in "
                f"{path}, or name another --workdir."
            )
    write_json(path, new)


def _manifest(config: Any, experiment: Experiment, workdir: Path) -> dict:
    fingerprints = {split: source.info.fingerprint for split, source in experiment.sources.items()}
    devices = [f"{device.platform}:{device.device_kind}" for device in jax.devices()]
    return manifest(seed=config.seed, data=fingerprints, devices=devices, workdir=workdir)


def _draw_start(workdir: Path, seed: int, experiment: Experiment, batch: dict) -> None:
    """Draws what is known before the first step: what the network will see in it, and the schedules."""
    info = experiment.sources["train"].info
    key = jax.random.fold_in(stream(jax.random.key(seed), "train"), 0)
    batch = {name: value[:8] for name, value in batch.items()}
    views = jax.device_get(jax.jit(experiment.augment)(key, batch))
    rows = {"image": batch["image"]}
    for name, view in views.items():
        if view.ndim == 4 and view.dtype.kind == "f":
            rows[name] = view * info.std + info.mean
    figures.view_pairs(list(rows.values()), workdir / "figures" / "views.png")
    step = jnp.arange(experiment.total_steps + 1)
    curves = {name: (step, jax.vmap(schedule)(step)) for name, schedule in experiment.schedules.items()}
    figures.schedules(jax.device_get(curves), workdir / "figures" / "schedules.png")


def _report(workdir: Path, experiment: Experiment) -> dict[str, float]:
    """Prints what came out beside what the untrained network gives, and chance."""
    rows = [row for row in read_metrics(workdir) if any(name.startswith("test/") for name in row)]
    first, last = rows[0], rows[-1]
    chance = 1 / len(experiment.sources["train"].info.classes)
    table = {}
    for name in last:
        if name.split("/")[0] in ("val", "test"):
            table[name] = {"trained": last[name], "at initialisation": first.get(name)}
            if name.endswith("_accuracy"):
                table[name]["chance"] = chance
    closing_table(f"{workdir}: {last['step']} steps", table)
    return {name: value for name, value in last.items() if name in table}


def _command() -> str:
    return shlex.join(["python", *sys.argv])
