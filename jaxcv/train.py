"""The story of a run: begin or resume, train, evaluate, save, finish."""

import json
import math
import shlex
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from jaxcv.begin import begin, named_weights
from jaxcv.checkpoint import Checkpoints, locked
from jaxcv.config import HARMLESS, changes, nearest, steps
from jaxcv.errors import ConfigError, UserError
from jaxcv.evaluate import make_evaluate, make_examples
from jaxcv.experiment import Experiment, build, open_batches
from jaxcv.finish import finish
from jaxcv.mesh import put
from jaxcv.processes import agree, is_first, stop_at
from jaxcv.report import figures
from jaxcv.report.log import Log, no_log, open_log, read_metrics, write_arrays, write_json
from jaxcv.report.progress import Progress
from jaxcv.step import TrainState

TOLD = ("accuracy", "acc/pixel", "miou/pooled_nanmean")  # endings of the metrics that are told at each evaluation


def run(config: Any, workdir: Path) -> dict[str, float]:
    """Trains what `config` describes in `workdir`, from the latest checkpoint there if there is one.

    Returns the values of the last evaluation, {} if a signal stopped the run before its end. Raises UserError for
    whatever the user can mend.
    """
    with ExitStack() as stack:
        if is_first():
            stack.enter_context(locked(workdir))
        stopping = stack.enter_context(_signals())
        experiment = build(config)
        checkpoints = Checkpoints(workdir)
        stack.callback(checkpoints.close)
        start = checkpoints.latest()
        _write_config(config, workdir, resuming=start is not None)
        if start is None:
            state = begin(config, workdir, experiment, named_weights(config, experiment))
        else:
            state = checkpoints.restore(start, experiment.abstract)
        log = open_log(workdir, step=-1 if start is None else start) if is_first() else no_log()
        stack.enter_context(log)
        evaluate = make_evaluate(
            experiment,
            batch_size=config.eval.batch_size,
            knn=config.eval.knn.to_dict(),
            probe=config.eval.probe.to_dict(),
        )
        examples = make_examples(experiment, batch_size=config.eval.batch_size)
        state = _train(config, workdir, experiment, checkpoints, log, evaluate, examples, state, stopping)
        step = int(state.step)
        if step < experiment.total_steps and not _exhausted(config, workdir):
            print(f"Stopped at step {step} of {experiment.total_steps}, which is saved. To go on: {_command()}")
            return {}
        return finish(config, workdir, experiment, checkpoints, evaluate, examples, state)


def start(config: Any, workdir: Path, experiment: Experiment, weights: Any) -> None:
    """Makes `workdir` a run of `config` that is at step 0 with these `weights`; see `experiment.pretrained`.

    Raises UserError where there is a run already.
    """
    with locked(workdir), closing(Checkpoints(workdir)) as checkpoints:
        if checkpoints.latest() is not None:
            raise UserError(f"{workdir} already holds a run; name another --workdir.")
        _write_config(config, workdir, resuming=False)
        checkpoints.save(0, begin(config, workdir, experiment, weights))


def _train(
    config: Any,
    workdir: Path,
    experiment: Experiment,
    checkpoints: Checkpoints,
    log: Log,
    evaluate: Callable,
    examples: Callable,
    state: TrainState,
    stopping: list,
) -> TrainState:
    """Trains to the last step, or to that at which a signal came or patience ended. Returns the state: it is saved."""
    total = experiment.total_steps
    per_epoch = {"steps_per_epoch": experiment.steps_per_epoch}
    eval_every = steps(config.eval, "every", group="eval", **per_epoch)
    save_every = steps(config.train, "save_every", group="train", **per_epoch)
    # What the network says of the same images is kept of the start, the first evaluation, a middle one and the last.
    kept = {0, eval_every, eval_every * -(-total // (2 * eval_every)) if eval_every else 0}
    start = int(state.step)

    with (
        open_batches(experiment, config, start=start) as host_batches,
        Progress(total, start=start, images_per_step=config.train.batch_size) as progress,
    ):
        watch = _Watch(config, experiment, checkpoints, log, progress)

        def evaluated(step: int) -> float | None:
            """Evaluates, logs, draws; returns the score by which the best checkpoint is kept."""
            # The test split is looked at before the first step, and when all is over: see `finish`.
            with progress.paused("evaluating"):
                values, _ = evaluate(state, ("val", "test") if step == 0 else ("val",))
                said = examples(state) if step in kept else {}
            log.write(step, values)
            told = {name: value for name, value in values.items() if name.endswith(TOLD)}
            progress.say(f"step {step}: " + "  ".join(f"{name} {value:.4f}" for name, value in told.items()))
            if is_first():
                if said:
                    write_arrays(workdir / "examples" / f"{step}.npz", said)
                figures.curves(read_metrics(workdir), workdir / "figures" / "curves.png")
            return _score(config, values)

        if start == 0:
            evaluated(0)
        else:
            progress.say(f"Resumed at step {start} of {total}.")

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
            eval_now = step == total or (eval_every and step % eval_every == 0)
            stop = bool(stopping) or stop_at(step)  # asked once in each step: what stops the run also saves it
            if eval_now or stop or (save_every and step % save_every == 0):
                watch.read(step, metrics, must=True)
                metrics = None
                score = evaluated(step) if eval_now else None
                with progress.paused("saving"):
                    checkpoints.save(step, state, score=score)
                stop = stop or (eval_now and _exhausted(config, workdir))
        return state


def _score(config: Any, values: Mapping[str, float]) -> float | None:
    """The metric config.eval.best, negated if it is a loss: higher is better. None if none is named."""
    name = config.eval.best
    if not name:
        return None
    if name not in values:
        raise ConfigError(f"config.eval.best={name!r} is no metric of this run; {nearest(name, list(values))}")
    return -values[name] if name.endswith("loss") else values[name]


def _exhausted(config: Any, workdir: Path) -> bool:
    """Whether the best score is as many evaluations old as config.train.patience says (0: never)."""
    if not config.train.patience:
        return False
    rows = read_metrics(workdir) if is_first() else []
    scores = [_score(config, row) for row in rows if config.eval.best in row]
    return agree(bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= config.train.patience)


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
    """Yields a list that is empty until SIGTERM or Ctrl-C asks the run to stop; a second one ends the process.

    It stays empty where there are several processes: SIGTERM is jax's there, see `stop_at`.
    """
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        if asked:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        asked.append(number)
        print("Stopping after this step; once more to stop at once.", file=sys.stderr)

    numbers = (signal.SIGTERM, signal.SIGINT) if jax.process_count() == 1 else ()
    old = {number: signal.signal(number, ask) for number in numbers}
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
    if is_first():
        write_json(path, new)


def _command() -> str:
    return shlex.join(["python", *sys.argv])
