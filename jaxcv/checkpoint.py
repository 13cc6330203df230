"""The only file that knows orbax: lock a workdir, save the state in the background, restore it onto any mesh."""

import fcntl
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxcv.errors import UserError

policies = ocp.checkpoint_managers


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Makes the workdir and holds it: two runs never write to one. The lock goes with the process, however it ends.

    Raises UserError where the folder cannot be made or written to, or another run holds it.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / "lock").open("a+")
    except OSError as error:
        raise UserError(
            f"cannot write to --workdir={workdir}: {error.strerror}; name a folder that you may write to."
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            message = f"--workdir={workdir} is in use by another run (process {holder}); name another."
            raise UserError(message) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


class Checkpoints:
    """The states saved in a workdir: the latest two, and the one with the best score."""

    def __init__(self, workdir: Path):
        self.folder = workdir.absolute() / "checkpoints"
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(
                    [
                        policies.LatestN(2),
                        policies.BestN(get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False),
                    ]
                ),
                best_fn=_score,
                cleanup_tmp_directories=True,
            ),
        )

    def latest(self) -> int | None:
        """The newest step that was saved whole."""
        return self._manager.latest_step()

    def best(self) -> tuple[int, float] | None:
        """Step and score of the best one, if any was saved with a score; waits for the last save."""
        self._manager.wait_until_finished()
        step = self._manager.best_step()
        score = None if step is None else self._manager.metrics(step)
        return None if score is None else (step, score["score"])

    def restore(self, step: int, abstract: Any) -> Any:
        """The state of `step`, laid out as `abstract` (ShapeDtypeStructs with shardings).

        Raises UserError that names the first array which differs in name, shape or dtype.
        """
        with ocp.StandardCheckpointer() as checkpointer:
            found = checkpointer.metadata(self.folder / str(step) / "state").item_metadata
        _check_same(_arrays(found), _arrays(abstract), self.folder / str(step))
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        return self._manager.restore(step, args=args)["state"]

    def save(self, step: int, state: Any, *, score: float | None = None) -> None:
        """Saves in the background; the arrays are copied before this returns. `score`: higher is better."""
        ranked = score is not None and math.isfinite(score)
        self._manager.save(
            step,
            args=ocp.args.Composite(state=ocp.args.StandardSave(state)),
            metrics={"score": score} if ranked else None,
            force=True,
        )

    def close(self) -> None:
        """Waits for the last save."""
        self._manager.close()


def restore_raw(workdir: Path, step: int | None = None) -> dict[str, Any]:
    """The state of `step` (None: the latest) as nested dictionaries and lists of numpy arrays; writes nothing.

    Raises UserError where there is none.
    """
    folder = workdir.absolute() / "checkpoints"
    saved = sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())
    if not saved or step not in (None, *saved):
        what = "no checkpoint" if step is None else f"no checkpoint of step {step}"
        raise UserError(f"{workdir} has {what}; there are {', '.join(map(str, saved)) or 'none'}.")
    path = folder / str(saved[-1] if step is None else step) / "state"
    with ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.metadata(path).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return checkpointer.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_numpy))


def _score(metrics: dict) -> float:
    return metrics["score"]


def _arrays(tree: Any) -> dict[str, tuple]:
    leaves, _ = jax.tree.flatten_with_path(tree)
    # Named tuples come back as dictionaries or lists: names alone count.
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (tuple(x.shape), str(x.dtype)) for path, x in leaves
    }


def _check_same(found: dict, wanted: dict, path: Path) -> None:
    remedy = "use the config saved in that workdir, or another --workdir."
    for kind, names in (("lacks", wanted.keys() - found.keys()), ("has", found.keys() - wanted.keys())):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            whose = "that this config needs" if kind == "lacks" else "that this config does not have"
            raise UserError(f"checkpoint {path} {kind} {min(names)}{more}, {whose}; {remedy}")
    for name, (shape, dtype) in wanted.items():
        if found[name] != (shape, dtype):
            raise UserError(
                f"checkpoint {path}: {name} is {found[name][1]}{list(found[name][0])} there, "
                f"but {dtype}{list(shape)} in this config; {remedy}"
            )
