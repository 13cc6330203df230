"""The story of a run: begin or resume, train, evaluate, save, finish."""

import ctypes
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from functools import partial

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from jaxcv.contract import check_contract
from jaxcv.errors import ConfigError, DataError, UserError
from jaxcv.experiment import Experiment, build
from jaxcv.mesh import put
from jaxcv.report.progress import Progress
from jaxcv.run.begin import begin, identity_of, initial_state, named_weights, notes, plot_start
from jaxcv.run.evaluate import Evaluation, make_evaluation
from jaxcv.run.finish import draw_curves, finish
from jaxcv.run.monitor import Monitor
from jaxcv.run.plan import Evaluations, make_plan
from jaxcv.run.resume import guard, resumed_log
from jaxcv.run.run import Run
from jaxcv.step import TrainState
from jaxcv.store.checkpoint import KEPT, Checkpoints, steps_in
from jaxcv.store.files import sync
from jaxcv.store.folder import Folder
from jaxcv.store.log import Log, no_log
from jaxcv.store.manifest import command_line
from jaxcv.store.processes import broadcast_from_first, is_alone, is_first, stop_at
from jaxcv.store.stop import Stopped, never
from jaxcv.task import Tree


@contextmanager
def memory_given_back() -> Iterator[None]:
    """Compiling takes most of a gigabyte, which glibc would keep for this process: in the end the system gets it."""
    try:
        yield
    finally:
        with suppress(OSError, AttributeError):  # there is another C library
            ctypes.CDLL(None).malloc_trim(0)


@memory_given_back()
def run(
    config: ConfigDict,
    workdir: str | os.PathLike,
    *,
    should_stop: Callable[[], bool] = never,
    override: bool = False,
    chosen: Collection[str] = (),
) -> dict[str, float]:
    """Trains what `config` describes in `workdir`, from the latest checkpoint there if there is one.

    should_stop: whether the run should stop; it then saves, prints how to resume, and returns {}.  override: resumes
    although config or data have changed.  chosen: keys that were set for this run ("optim.lr"): those without an effect
    are told. Returns the reported values. Raises UserError for mistakes of the user.
    """
    if "sweep" in config:
        raise ConfigError(f"this config has a sweep of {len(config.sweep.rows)} rows; run them all with jaxcv sweep.")
    should_stop = should_stop if is_alone() else never  # several processes stop together: see `stop_at`
    folder = Folder(workdir)
    with folder.report_errors(), ExitStack() as stack:
        experiment = build(config)
        check_contract(experiment, name=config.task.name)
        if is_first():  # only now: a config that is refused leaves no folder behind
            stack.enter_context(folder.locked())
            folder.clean()
        checkpoints = stack.enter_context(closing(Checkpoints(folder, identity_of(config, experiment))))
        run = Run(config, folder, experiment, checkpoints, should_stop, override, chosen)
        try:
            return _go(run)
        except Stopped:
            checkpoints.wait()
            step = checkpoints.latest()
            where = f"at step {step} of {experiment.data.total_steps}, which is saved"
            print(f"Stopped {'before the first step' if step is None else where}.")
            print(f"To resume, run the same command again: {command_line()}")
            if is_first():
                with suppress(DataError):  # nothing is logged yet
                    draw_curves(folder, folder.series())
            return {}


def start(config: ConfigDict, workdir: str | os.PathLike, experiment: Experiment, weights: Tree) -> None:
    """Makes `workdir` a run of `config` at step 0 with these `weights`; see `jaxcv.run.pretrained`.

    Raises UserError where `workdir` holds a run already.
    """
    folder = Folder(workdir)
    with folder.report_errors(), folder.locked():
        if steps_in(folder.checkpoints):
            raise UserError(f"{folder} already holds a run; name another --workdir.")
        with closing(Checkpoints(folder, identity_of(config, experiment))) as checkpoints:
            checkpoints.save(0, begin(Run(config, folder, experiment, checkpoints, never), weights))


def _go(run: Run) -> dict[str, float]:
    """Begins or resumes, trains and finishes. Raises Stopped when the run should stop, once its state is saved."""
    if run.should_stop():
        raise Stopped
    for note in notes(run):
        print(note)
    checkpoints, abstract = run.checkpoints, run.experiment.compiled.abstract
    accept = guard(run) if broadcast_from_first(checkpoints.latest() is not None) else None
    otherwise = "none is left, and the run starts from step 0"
    step, state = checkpoints.restore(checkpoints.latest, abstract, otherwise=otherwise) or (None, None)
    if accept:
        accept()
        if not run.override:  # which would have told other data
            print("The data are unchanged since this run began.")
    elif run.folder.metrics.exists():
        print(f"{run.folder} has a log, but no checkpoint: the run starts from step 0.")
    if is_first():
        run.folder.truncate(step)
    checkpoints.check_space(abstract, saves=1 if step else KEPT + 1)
    untrained = None
    if state is None:
        weights = named_weights(run)
        state, untrained = begin(run, weights), partial(initial_state, run.experiment, weights)
    print(f"Workdir: {run.folder}")
    evaluation = make_evaluation(run.experiment, run.should_stop)
    with resumed_log(run, step) if is_first() else no_log() as log:
        state = _train(run, log, evaluation, state, untrained)
    return finish(run, evaluation, state)


def _train(
    run: Run, log: Log, evaluation: Evaluation, state: TrainState, untrained: Callable[[], TrainState] | None
) -> TrainState:
    """Trains to the last step, or until it runs out of patience. Returns the state, which is saved.

    untrained: makes the state at step 0 once more, if the run begins now: it is evaluated after the first step, which
    need not wait for that. Raises Stopped when the run should stop, once the step is saved.
    """
    experiment, checkpoints, start = run.experiment, run.checkpoints, int(state.step)
    plan = make_plan(experiment)
    with (
        experiment.data.open_batches(start=start) as host_batches,
        Progress(plan.total_steps, start=start, images_per_step=experiment.settings.train.batch_size) as progress,
    ):
        monitor, evaluations = Monitor(run, log, progress), Evaluations(run, log, plan, evaluation, progress)
        if start:
            progress.say(f"Resumed at step {start} of {plan.total_steps}.")
        if not untrained:
            evaluations.catch_up(start, state)
        batches = read_ahead(host_batches, experiment.mesh)
        previous: tuple[int, dict | None] = (start, None)
        for step in range(start + 1, plan.total_steps + 1):
            if evaluations.out_of_patience(step - 1):
                break
            batch = monitor.next_batch(batches)
            with jax.transfer_guard("disallow"), progress.paused("compiling") if step == start + 1 else nullcontext():
                state, metrics = experiment.compiled.update(state, batch)
            if untrained and step == 1:
                evaluations.evaluate(0, untrained())
                if is_first():
                    plot_start(run)
            monitor.read(*previous)  # the last step's metrics, while this step is computed
            previous = step, metrics
            checkpoints.poll()
            stopping = run.should_stop() or stop_at(step)  # all processes must ask once in each step
            if plan.evaluates(step) or plan.saves(step) or stopping:
                monitor.read(step, metrics, always=True)
                previous = step, None
                with suppress(Stopped):  # the evaluation is done when the run resumes
                    evaluations.evaluate(step, state)
                with progress.paused("saving"):
                    if is_first():
                        sync(run.folder.metrics)  # the log must reach the disk before the checkpoint
                    checkpoints.save(step, state, log.digests())
                if stopping or run.should_stop():
                    raise Stopped
        return state


def read_ahead(batches: Iterable[dict], mesh: Mesh, *, depth: int = 2) -> Iterator[dict]:
    """The batches on the devices, each put there `depth` batches before it is needed."""
    queue: deque[dict] = deque()
    for batch in batches:
        queue.append(put(mesh, batch))
        if len(queue) > depth:
            yield queue.popleft()
