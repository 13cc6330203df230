"""Checkpoints: saved in the background, verified when read, restored onto any mesh. No other file uses orbax."""

import math
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from logging import getLogger
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxcv.errors import UserError
from jaxcv.mesh import put_whole
from jaxcv.store.digests import Damaged, by_name, check_arrays, check_config, make_record, read_json, read_record
from jaxcv.store.files import numbered, remove, sync
from jaxcv.store.folder import FULL, Folder
from jaxcv.store.log import UNKNOWN
from jaxcv.store.processes import anywhere, broadcast_step_from_first, is_first, wait
from jaxcv.task import Tree

# Orbax warns of a file that it does not need: its checkpoints here have digests instead.
getLogger("absl").addFilter(lambda record: "Metadata file does not exist" not in record.getMessage())
KEPT = 3  # checkpoints: the latest two and the best


class Checkpoints:
    """The states that a run has saved: the latest two, and the one with the best score."""

    def __init__(self, run: Folder, identity: str = ""):
        """identity: of the run, which is saved with each state and compared when one is restored; empty: unknown."""
        self.folder = run.checkpoints
        self._run, self._identity = run, identity
        self._scores: dict[int, float] = {}
        self._saving: int | None = None  # the step that is being saved in the background
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stack = ExitStack()
        self._for_orbax = self._stack.enter_context(_without_patterns(self.folder))
        self._saver = self._stack.enter_context(ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler()))

    def rank(self, step: int, score: float | None) -> None:
        """Sets the score of `step`, for `best`: higher is better. NaN, infinities and step 0 are ignored."""
        if step and score is not None and math.isfinite(score):
            self._scores[step] = score

    def latest(self) -> int | None:
        """The latest step whose save is complete."""
        return max(steps_in(self.folder), default=None)

    def best(self) -> int | None:
        """The saved step with the best score, the latest of equals; waits for the last save."""
        self.wait()
        return _best(steps_in(self.folder), self._scores)

    def restore(self, choose: Callable[[], int | None], abstract: Tree, *, otherwise: str) -> tuple[int, Tree] | None:
        """(step, state) of the step `choose()`, laid out as `abstract` (ShapeDtypeStructs with shardings).

        A damaged checkpoint is renamed N.corrupt, with a message, and `choose` is called again until it returns None;
        otherwise: what happens then, for the message. Raises UserError, and renames nothing, where the config's state
        has other arrays.
        """
        while (step := broadcast_step_from_first(choose())) is not None:
            path, state, reason = self.folder / str(step), None, "another process cannot read it"
            known = self._run.identities()
            try:
                state = read_checkpoint(path, abstract, known and {*known, self._identity})
            except Damaged as damage:
                reason = str(damage)
            if not anywhere(state is None):
                return step, state
            name = self._set_aside(path) if is_first() else ""
            wait(f"checkpoint {step} is set aside")
            remaining = choose()
            then = otherwise if remaining is None else f"step {remaining} is used"
            print(f"Checkpoint {step} is damaged ({reason}) and was renamed {name}; {then}.", flush=True)
        return None

    def save(self, step: int, state: Tree, log: Mapping = UNKNOWN) -> None:
        """Saves in the background; the arrays are copied before this returns. Raises UserError if the save fails.

        log: the digests of the log up to `step`, see `jaxcv.store.log.Log.digests`.
        """
        self.wait()
        self.check_space(state, saves=1)
        record = make_record(step, by_name(jax.device_get(state)), run=self._identity, log=log)
        self._saving = step
        with self._save_errors():
            args = ocp.args.Composite(state=ocp.args.StandardSave(state), record=ocp.args.JsonSave(record))
            self._saver.save(self._for_orbax / str(step), args, force=True)

    def poll(self) -> None:
        """Checks the last save without waiting for it. Raises UserError if it has failed."""
        with self._save_errors():
            self._saver.check_for_errors()
        if self._saving is not None and (self.folder / str(self._saving)).exists():  # it is named when it is complete
            self.wait()

    def wait(self) -> None:
        """Waits until the last save is safely on disk, then removes what need not be kept. Raises UserError if the
        save failed."""
        with self._save_errors():
            self._saver.wait_until_finished()
            if self._saving is not None:  # orbax does not sync its small files and folders
                path = self.folder / str(self._saving)
                for part in (*path.rglob("*"), path, self.folder):
                    sync(part)
        if self._saving is not None and is_first():
            steps = steps_in(self.folder)
            for step in {*steps} - {*steps[1 - KEPT :], _best(steps, self._scores)}:
                remove(self.folder / str(step))
        self._saving = None

    def saved_log(self, step: int) -> dict:
        """The digests of the log that were saved with `step`."""
        return record_of(self.folder / str(step)).get("log", UNKNOWN)

    def check_space(self, state: Tree, *, saves: int) -> None:
        """Raises UserError unless the disk has room for `saves` more states like `state`, and a tenth more."""
        needed = int(1.1 * saves * sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)))
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise UserError(
                f"{saves} more checkpoint{'s' * (saves > 1)} in {self.folder} need {needed / 1e6:,.1f} MB and "
                f"{free / 1e6:,.1f} MB are free; {self._last_good()}. Free some space and run the same command again."
            )

    def close(self) -> None:
        """Waits for the last save."""
        try:
            self.wait()
        finally:
            self._stack.close()

    @contextmanager
    def _save_errors(self) -> Iterator[None]:
        """Turns an error of a save into a UserError."""
        try:
            yield
        except Exception as error:
            step, self._saving = self._saving, None
            full = next((os.strerror(number) for number in FULL if os.strerror(number) in str(error)), None)
            reason, remedy = full or _first_line(error), f"Make room in {self.folder.parent} and run" if full else "Run"
            if not self.folder.is_dir():
                reason = f"{self.folder} was removed during the run"
            raise UserError(
                f"step {step} was NOT saved: {reason}; {self._last_good()}. {remedy} the same command again."
            ) from error

    def _last_good(self) -> str:
        return "nothing is saved" if self.latest() is None else f"the last good checkpoint is step {self.latest()}"

    def _set_aside(self, path: Path) -> str:
        names = (f"{path.name}.corrupt{f'.{number}' if number > 1 else ''}" for number in count(1))
        name = next(name for name in names if not path.with_name(name).exists())
        path.rename(path.with_name(name))
        return name


@contextmanager
def _without_patterns(path: Path) -> Iterator[Path]:
    """`path`, or a link to it in a temporary folder: orbax takes whole paths for patterns where it looks for files."""
    if not {*str(path)} & {*"[]*?\\"}:
        yield path
        return
    with TemporaryDirectory() as folder:
        link = Path(folder) / path.name
        link.symlink_to(path)
        yield link


def read_checkpoint(path: Path, abstract: Tree, identities: Collection[str]) -> Tree:
    """The state in the folder of a checkpoint, laid out as `abstract`. Raises Damaged, or UserError where the config's
    state has other arrays.

    identities: of the run; a checkpoint with another one counts as damaged. Empty: they are not known.
    """
    wanted = by_name(abstract)
    check_config(record_of(path, identities)["arrays"], wanted, path)
    arrays = by_name(_read(path))
    leaves = [put_whole(x.sharding, arrays[name]) for name, x in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(abstract), leaves)


def restore_raw(run: Folder, step: int | None = None) -> dict[str, Any]:
    """The state of `step` (None: the latest) as nested dictionaries and lists of numpy arrays; writes nothing.

    Raises UserError if it is absent or damaged.
    """
    saved = steps_in(run.checkpoints)
    if not saved or step not in (None, *saved):
        which = "" if step is None else f" of step {step}"
        raise UserError(f"{run} has no checkpoint{which}; there are {', '.join(map(str, saved)) or 'none'}.")
    path = run.checkpoints / str(saved[-1] if step is None else step)
    try:
        record_of(path, run.identities())
        return _read(path)
    except Damaged as damage:
        raise UserError(f"checkpoint {path} is damaged: {damage}.") from None


def steps_in(folder: Path) -> list[int]:
    """The saved steps in a folder of checkpoints, sorted: orbax names a checkpoint only when it is complete."""
    return list(numbered(folder))


def identities_in(folder: Path) -> set[str]:
    """The identities of the runs that have saved the checkpoints in a folder."""
    found = set()
    for step in steps_in(folder):
        with suppress(Damaged, UserError):
            found.add(record_of(folder / str(step)).get("run", ""))
    return found - {""}


def _best(steps: Sequence[int], scores: Mapping[int, float]) -> int | None:
    return max((step for step in steps if step in scores), key=lambda step: (scores[step], step), default=None)


def record_of(path: Path, identities: Collection[str] = ()) -> dict[str, Any]:
    """The record of a checkpoint. Raises Damaged, also where it is of a run that is not one of `identities` (empty: any
    run), or UserError where the folder has no records at all."""
    if not any(path.parent.glob("[0-9]*/record")):
        raise UserError(
            f"checkpoint {path} has no record of its arrays: an earlier version wrote it, or it is damaged; "
            "move it away, or name another --workdir."
        )
    record = read_record(path / "record" / "metadata", int(path.name))
    if identities and record.get("run") and record["run"] not in identities:
        raise Damaged("it is that of a run with another config or other data")
    return record | {"arrays": {_renamed(name): facts for name, facts in record["arrays"].items()}}


def _renamed(name: str) -> str:
    """The current name of an array: version 0.1.0 called `model_state` `extra`."""
    return re.sub("^extra(?=/|$)", "model_state", name)


def _read(path: Path) -> dict[str, Tree]:
    """The state of a checkpoint as nested dictionaries and lists of numpy arrays, checked against its record."""
    record = record_of(path)
    read_json(path / "state" / "_METADATA")  # orbax does not name the damaged file
    try:
        with _without_patterns(path) as folder, ocp.PyTreeCheckpointer() as checkpointer:
            state = folder / "state"
            metadata = checkpointer.metadata(state).item_metadata
            if metadata is None:  # only restore says why
                checkpointer.restore(state)
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), metadata.tree)
            tree = checkpointer.restore(state, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    except MemoryError:
        raise
    except Exception as error:  # a broken file can raise anything
        files = re.findall(rf'"{re.escape(str(folder))}/([^"]+)"', str(error).partition("[tensorstore_spec")[0])
        what = f"{files[-1]} cannot be read" if files else f"state cannot be read: {_first_line(error)}"
        raise Damaged(what) from error
    tree = {_renamed(name): value for name, value in tree.items()}
    check_arrays(by_name(tree), record["arrays"])
    return tree


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
