"""The story of a run: start or resume, train, evaluate, save, report."""

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
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxcv.checkpoint import Checkpoints, locked
from jaxcv.config import HARMLESS, changes, load, nearest, steps
from jaxcv.data.source import first
from jaxcv.errors import ConfigError, UserError
from jaxcv.evaluate import make_evaluate, make_examples
from jaxcv.experiment import Experiment, augmented, build, open_batches, pretrained
from jaxcv.mesh import put
from jaxcv.models.weights import check, summarize
from jaxcv.paths import digest, matches
from jaxcv.report import figures
from jaxcv.report.log import Log, open_log, read_arrays, read_metrics, write_arrays, write_json
from jaxcv.report.manifest import manifest
from jaxcv.report.progress import Progress
from jaxcv.report.tables import closing_table
from jaxcv.step import TrainState

TOLD = ("accuracy", "acc/pixel", "miou/pooled_nanmean")  # endings of the metrics that are told at each evaluation


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
            weights = _pretrained(config, experiment)
            state = _initial(config, workdir, experiment, weights)
            del weights
        else:
            state = checkpoints.restore(start, experiment.abstract)
        log = stack.enter_context(open_log(workdir, step=-1 if start is None else start))
        evaluate = make_evaluate(
            experiment,
            batch_size=config.eval.batch_size,
            knn=config.eval.knn.to_dict(),
            probe=config.eval.probe.to_dict(),
        )
        state = _train(config, workdir, experiment, checkpoints, log, evaluate, state, stopping)
        step = int(state.step)
        if step < experiment.total_steps and not _exhausted(config, workdir):
            print(f"Stopped at step {step} of {experiment.total_steps}, which is saved. To go on: {_command()}")
            return {}
        return _finish(config, workdir, experiment, checkpoints, evaluate, state)


def start(config: Any, workdir: Path, experiment: Experiment, weights: Any) -> None:
    """Makes `workdir` a run of `config` that is at step 0 with these `weights`; see `experiment.pretrained`.

    Raises UserError where there is a run already.
    """
    with locked(workdir), closing(Checkpoints(workdir)) as checkpoints:
        if checkpoints.latest() is not None:
            raise UserError(f"{workdir} already holds a run; name another --workdir.")
        _write_config(config, workdir, resuming=False)
        checkpoints.save(0, _initial(config, workdir, experiment, weights))


def _pretrained(config: Any, experiment: Experiment) -> Any:
    """The weights that config.init_from names, None if it names none."""
    if not config.init_from:
        return None
    weights, rows = pretrained(experiment, config.init_from, config.init_allow)
    remedy = " What may be missing or unused is named in config.init_allow, as in ('fc.*',)."
    check(rows, source=f"The weights in {config.init_from}", remedy=remedy)
    print(f"Weights of {config.init_from}: {summarize(rows)}")
    return weights


def _initial(config: Any, workdir: Path, experiment: Experiment, weights: Any) -> TrainState:
    """The state at step 0; what is known before it is written and drawn."""
    with open_batches(experiment, config, start=0) as batches:
        batch = next(batches)
    state = experiment.init(put(experiment.mesh, batch), weights)
    frozen = _frozen(config, state)
    if frozen:
        print(f"Frozen parameters: sha256 {frozen}")
    write_json(workdir / "manifest.json", {**_manifest(config, experiment, workdir), "frozen_sha256": frozen})
    _draw_start(workdir, config.seed, experiment, batch)
    return state


def _frozen(config: Any, state: TrainState) -> str:
    """The digest of the parameters that config.optim.freeze names; empty if it names none."""
    return digest(state.params, matches(state.params, config.optim.freeze)) if config.optim.freeze else ""


def _train(
    config: Any,
    workdir: Path,
    experiment: Experiment,
    checkpoints: Checkpoints,
    log: Log,
    evaluate: Callable,
    state: TrainState,
    stopping: list,
) -> TrainState:
    """Trains to the last step, or to that at which a signal came or patience ended. Returns the state: it is saved."""
    total = experiment.total_steps
    per_epoch = {"steps_per_epoch": experiment.steps_per_epoch}
    eval_every = steps(config.eval, "every", group="eval", **per_epoch)
    save_every = steps(config.train, "save_every", group="train", **per_epoch)
    examples = make_examples(experiment, split="val", count=config.eval.examples, batch_size=config.eval.batch_size)
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
            # The test split is looked at before the first step, and when all is over: see `_finish`.
            with progress.paused("evaluating"):
                values, _ = evaluate(state, ("val", "test") if step == 0 else ("val",))
                if step in kept:
                    write_arrays(workdir / "examples" / f"{step}.npz", examples(state))
            log.write(step, values)
            told = {name: value for name, value in values.items() if name.endswith(TOLD)}
            progress.say(f"step {step}: " + "  ".join(f"{name} {value:.4f}" for name, value in told.items()))
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
            stop = bool(stopping)  # asked once in each step: what stops the run also saves it
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
    scores = [_score(config, row) for row in read_metrics(workdir) if config.eval.best in row]
    if not config.train.patience or not scores:
        return False
    return len(scores) - 1 - scores.index(max(scores)) >= config.train.patience


def _evaluated(row: Mapping[str, float]) -> bool:
    return any(name.startswith("val/") for name in row)


def _finish(
    config: Any,
    workdir: Path,
    experiment: Experiment,
    checkpoints: Checkpoints,
    evaluate: Callable,
    state: TrainState,
) -> dict[str, float]:
    """Evaluates the best state, or the last, on the test split, once; keeps, draws and prints the results."""
    file, last = workdir / "result.json", int(state.step)
    if not file.exists():
        best = checkpoints.best() if config.eval.report == "best" else None
        reported = best[0] if best else last
        if reported != last:
            state = checkpoints.restore(reported, experiment.abstract)
        values, arrays = evaluate(state, ("test",))
        known = next(row for row in read_metrics(workdir) if row["step"] == reported and _evaluated(row))
        values |= {name: value for name, value in known.items() if name.startswith("val/")}
        examples = make_examples(experiment, split="val", count=config.eval.examples, batch_size=config.eval.batch_size)
        write_arrays(workdir / "examples" / f"{reported}.npz", examples(state))
        write_arrays(workdir / "result.npz", arrays)
        result = {"step": last, "reported_step": reported, "values": values}
        result["classes"] = list(experiment.sources["train"].info.classes)
        if frozen := _frozen(config, state):
            before = json.loads((workdir / "manifest.json").read_text())["frozen_sha256"]
            print(f"Frozen parameters: sha256 {frozen}, {'as' if frozen == before else 'NOT as'} at the start")
            result["frozen_sha256"] = frozen
        write_json(file, result)
    result = json.loads(file.read_text())
    _draw_end(config, workdir, experiment, result["reported_step"])
    _report(workdir, experiment, result)
    return result["values"]


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
    facts = manifest(seed=config.seed, data=fingerprints, devices=devices, workdir=workdir)
    return {
        **facts,
        "info": experiment.sources["train"].info._asdict(),
    }  # so that a checkpoint can be used without data


def _draw_start(workdir: Path, seed: int, experiment: Experiment, batch: dict) -> None:
    """Draws what is known before the first step: what the network will see in it, and the schedules."""
    batch = {name: value[:8] for name, value in batch.items()}
    rows = {"original": batch["image"], **augmented(experiment, seed, 0, batch)}
    figures.image_rows(rows, workdir / "figures" / "views.png")
    step = jnp.arange(experiment.total_steps + 1)
    curves = {name: (step, jax.vmap(schedule)(step)) for name, schedule in experiment.schedules.items()}
    figures.schedules(jax.device_get(curves), workdir / "figures" / "schedules.png")


def _draw_end(config: Any, workdir: Path, experiment: Experiment, reported: int) -> None:
    """Draws the curves, and what the task's report has to show of its results up to the step that is reported."""
    figures.curves(read_metrics(workdir), workdir / "figures" / "curves.png")
    source = first(experiment.sources["val"], config.eval.examples)
    batch = [source[i] for i in range(len(source))]
    files = [file for file in (workdir / "examples").glob("*.npz") if int(file.stem) <= reported]
    load("report", config.task.name, "draw", group="task").draw(
        workdir / "figures",
        info=source.info,
        names=source.names,
        arrays=read_arrays(workdir / "result.npz"),
        examples={int(file.stem): read_arrays(file) for file in files},
        batch={name: np.stack([example[name] for example in batch]) for name in batch[0]},
    )


def _report(workdir: Path, experiment: Experiment, result: dict) -> None:
    """Prints what came out beside what the untrained network gives, and chance."""
    untrained = next((row for row in read_metrics(workdir) if row["step"] == 0), {})
    chance = 1 / len(experiment.sources["train"].info.classes)
    table = {}
    for name, value in result["values"].items():
        table[name] = {"trained": value, "at initialisation": untrained.get(name)}
        if name.endswith("accuracy"):
            table[name]["chance"] = min(5 * chance, 1.0) if "top5" in name else chance
    title = f"{workdir}: {result['step']} steps"
    if result["reported_step"] != result["step"]:
        title += f", the best after {result['reported_step']}"
    closing_table(title, table)


def _command() -> str:
    return shlex.join(["python", *sys.argv])
