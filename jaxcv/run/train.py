"""The story of a run: begin or resume, train, evaluate, save, finish."""

import math
import shlex
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, nullcontext, suppress
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from jaxcv.config import duration, nearest
from jaxcv.errors import ConfigError, DataError, UserError
from jaxcv.experiment import Experiment, build, open_batches
from jaxcv.mesh import put
from jaxcv.report.progress import Progress
from jaxcv.report.tables import lower_is_better
from jaxcv.run.begin import begin, named_weights
from jaxcv.run.evaluate import make_evaluate, make_examples
from jaxcv.run.finish import draw_curves, evaluated, finish
from jaxcv.run.resume import guard, truncate
from jaxcv.step import TrainState
from jaxcv.store.checkpoint import KEPT, Checkpoints, sync
from jaxcv.store.folder import clean, full_disk_told, locked
from jaxcv.store.log import Log, no_log, open_log, read_metrics, write_arrays
from jaxcv.store.processes import broadcast_from_first, is_alone, is_first, stop_at
from jaxcv.store.stop import Stopped, never

CURVES_SECONDS = 30.0  # the device waits while they are drawn
TOLD = ("accuracy", "acc/pixel", "miou/pooled_nanmean")  # endings of the metrics that are told at each evaluation


def run(
    config: Any, workdir: Path, *, should_stop: Callable[[], bool] = never, override: bool = False
) -> dict[str, float]:
    """Trains what `config` describes in `workdir`, from the latest checkpoint there if there is one.

    should_stop: whether the run is to stop; it then saves, says how to go on, and returns {}. override: goes on
    though the config or the data are not those that the run began with. Returns the values that are reported. Raises
    UserError for whatever the user can mend.
    """
    should_stop = should_stop if is_alone() else never  # several stop together: see `stop_at`
    with full_disk_told(workdir), ExitStack() as stack:
        if is_first():
            stack.enter_context(locked(workdir))
            clean(workdir)
        experiment = build(config)
        checkpoints = stack.enter_context(closing(Checkpoints(workdir)))
        try:
            return _go(config, workdir, experiment, checkpoints, should_stop, override)
        except Stopped:
            checkpoints.wait()
            step = checkpoints.latest()
            where = f"at step {step} of {experiment.total_steps}, which is saved"
            print(f"Stopped {'before the first step' if step is None else where}. To go on: {_command()}")
            if is_first():
                with suppress(DataError):  # nothing is logged yet
                    draw_curves(workdir)
            return {}


def start(config: Any, workdir: Path, experiment: Experiment, weights: Any) -> None:
    """Makes `workdir` a run of `config` that is at step 0 with these `weights`; see `experiment.pretrained`.

    Raises UserError where there is a run already.
    """
    with full_disk_told(workdir), locked(workdir), closing(Checkpoints(workdir)) as checkpoints:
        if checkpoints.latest() is not None:
            raise UserError(f"{workdir} already holds a run; name another --workdir.")
        checkpoints.save(0, begin(config, workdir, experiment, weights))


def _go(
    config: Any,
    workdir: Path,
    experiment: Experiment,
    checkpoints: Checkpoints,
    should_stop: Callable[[], bool],
    override: bool,
) -> dict[str, float]:
    """Begins or resumes, trains and finishes. Raises Stopped when `should_stop`, once all that is done is saved."""
    if should_stop():
        raise Stopped
    begun = broadcast_from_first(checkpoints.latest() is not None)
    accept = guard(config, workdir, experiment, override=override) if begun else None
    again = "none is left, and the run starts from step 0"
    step, state = checkpoints.restore(checkpoints.latest, experiment.abstract, otherwise=again) or (None, None)
    if accept:
        accept()
    if is_first():
        truncate(workdir, step)
    checkpoints.check_space(experiment.abstract, saves=1 if step else KEPT + 1)
    if state is None:
        state = begin(config, workdir, experiment, named_weights(config, experiment))
    with open_log(workdir, step=-1 if step is None else step) if is_first() else no_log() as log:
        shared = {"batch_size": config.eval.batch_size, "should_stop": should_stop}
        evaluate = make_evaluate(experiment, knn=config.eval.knn.to_dict(), probe=config.eval.probe.to_dict(), **shared)
        examples = make_examples(experiment, **shared)
        state = _train(config, workdir, experiment, checkpoints, log, evaluate, examples, state, should_stop)
    return finish(config, workdir, experiment, checkpoints, evaluate, examples, state)


def _train(
    config: Any,
    workdir: Path,
    experiment: Experiment,
    checkpoints: Checkpoints,
    log: Log,
    evaluate: Callable,
    examples: Callable,
    state: TrainState,
    should_stop: Callable[[], bool],
) -> TrainState:
    """Trains to the last step, or to that at which patience ended. Returns the state: it is saved.

    Raises Stopped when `should_stop`, once the step is saved.
    """
    total = experiment.total_steps
    per_epoch = {"steps_per_epoch": experiment.steps_per_epoch}
    eval_every = duration(config.eval, "every", group="eval", **per_epoch)
    save_every = duration(config.train, "save_every", group="train", **per_epoch)
    # What the network says of the same images is kept of the start, the first evaluation, a middle one and the last.
    kept = {0, eval_every, eval_every * -(-total // (2 * eval_every)) if eval_every else 0}
    start = int(state.step)

    with (
        open_batches(experiment, config, start=start) as host_batches,
        Progress(total, start=start, images_per_step=config.train.batch_size) as progress,
    ):
        watch = _Watch(config, experiment, checkpoints, log, progress)
        curves = _at_most_every(CURVES_SECONDS, lambda: draw_curves(workdir))

        def due(step: int) -> bool:
            return step in (0, total) or bool(eval_every and step % eval_every == 0)

        def evaluate_now(step: int) -> None:
            """Evaluates, logs, draws; tells the score by which the best checkpoint is kept."""
            # The test split is looked at before the first step, and when all is over: see `finish`.
            with progress.paused("evaluating"):
                values, _ = evaluate(state, ("val", "test") if step == 0 else ("val",))
                predictions = examples(state) if step in kept else {}
            log.write(step, values)
            told = {name: value for name, value in values.items() if name.endswith(TOLD)}
            progress.say(f"step {step}: " + "  ".join(f"{name} {value:.4f}" for name, value in told.items()))
            if is_first():
                if predictions:
                    write_arrays(workdir / "examples" / f"{step}.npz", predictions)
                curves()
            checkpoints.rank(step, _score(config, values))

        if start:
            progress.say(f"Resumed at step {start} of {total}.")
        done = {row["step"]: row for row in read_metrics(workdir) if evaluated(row)} if is_first() else {}
        for past, values in done.items():
            checkpoints.rank(past, _score(config, values))
        if broadcast_from_first(due(start) and start not in done):  # at first, and where a signal ended the evaluation
            evaluate_now(start)

        batches = read_ahead(host_batches, experiment.mesh)
        step, metrics = start, None
        stop = _exhausted(config, workdir)
        while step < total and not stop:
            batch = watch.wait_for(batches)
            previous = step, metrics
            with jax.transfer_guard("disallow"), progress.paused("compiling") if step == start else nullcontext():
                state, metrics = experiment.update(state, batch)
            step += 1
            watch.read(*previous)  # the last step's numbers, now that this one is on its way
            checkpoints.poll()
            ended = should_stop() or stop_at(step)  # should_stop once in each step, by all processes at the same one
            if due(step) or ended or (save_every and step % save_every == 0):
                watch.read(step, metrics, must=True)
                metrics = None
                if due(step):
                    with suppress(Stopped):  # the evaluation is done again when the run goes on
                        evaluate_now(step)
                with progress.paused("saving"):
                    if is_first():
                        sync(workdir / "metrics.jsonl")  # no checkpoint without the lines up to it
                    checkpoints.save(step, state)
                if ended or should_stop():
                    raise Stopped
                stop = due(step) and _exhausted(config, workdir)
        return state


def _at_most_every(seconds: float, function: Callable[[], None]) -> Callable[[], None]:
    """`function`, which does nothing until so many seconds have passed since now, or since it last did something."""
    last = time.monotonic()

    def call() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            function()
            last = time.monotonic()

    return call


def _score(config: Any, values: Mapping[str, float]) -> float | None:
    """The metric config.eval.best, negated if it is a loss: higher is better. None if none is named."""
    name = config.eval.best
    if not name:
        return None
    if name not in values:
        raise ConfigError(f"config.eval.best={name!r} is no metric of this run; {nearest(name, list(values))}")
    return -values[name] if lower_is_better(name) else values[name]


def _exhausted(config: Any, workdir: Path) -> bool:
    """Whether the best score is as many evaluations old as config.train.patience says (0: never)."""
    if not config.train.patience:
        return False
    rows = read_metrics(workdir) if is_first() else []
    scores = [_score(config, row) for row in rows if config.eval.best in row]
    scores = [score if math.isfinite(score) else -math.inf for score in scores]
    return broadcast_from_first(bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= config.train.patience)


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
        for name, what in (("loss", "the loss"), ("grad_norm", "the gradient's norm")):
            if not math.isfinite(values[name]):
                raise UserError(
                    f"{what} is {values[name]} at step {step}; {self._last_good()} Try a lower config.optim.lr or a "
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


def _command() -> str:
    return shlex.join(["python", *sys.argv])
