"""Interrupts and damages runs, lets them go on, and compares what they end with: not one bit may differ, or it is said.

python tests/soak.py --kills=100 [--seed=0] [--configs=colorize,byol,fashion_mnist,camvid]
python tests/soak.py --damages=100 [...]       one file of a run is flipped, cut, emptied, deleted, its lines moved
python tests/soak.py --checkpoints [...]       every file of a real run's last checkpoint, in every way
"""

import argparse
import contextlib
import io
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

import runs
from jaxcv.store.folder import Folder
from jaxcv.tools import command

EVENTS = {  # what is waited for before a run is interrupted: a name, and the files whose change shows it
    "temporary": ("**/.*.tmp", "checkpoints/*.orbax-checkpoint-tmp*"),
    "checkpoint": ("checkpoints/[0-9]*",),
    "line": ("metrics.jsonl",),
    "example": ("examples/*.npz",),
    "figure": ("figures/*",),
    "result": ("result.npz", "result.json"),
    "start": ("lock", "config.json", "manifest.json"),
    "moment": (),  # a random one
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--damages", type=int, default=0)
    parser.add_argument("--checkpoints", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--configs", default="colorize,byol,fashion_mnist,camvid")
    options = parser.parse_args()
    command.quiet()
    with tempfile.TemporaryDirectory() as folder:
        root, rng = Path(folder), random.Random(options.seed)
        whole = {name: run_whole(name, root) for name in options.configs.split(",")}
        failures = interrupt(whole, root, options.kills, rng) + damage(whole, root, options.damages, rng)
        failures += damage_checkpoints(whole, root) if options.checkpoints else []
    raise SystemExit(bool(failures))


def start(name, root, workdir, workers=0):
    flags = runs.flags_of(name, root / "data")
    workers = (f"--config.data.workers={workers}",) if workers else ()
    return runs.start("main.py", *flags, *workers, f"--workdir={workdir}", cache=root / "cache")


def run_whole(name, root):
    """(workdir, seconds) of an uninterrupted run, the second one, which finds everything compiled."""
    for workdir in (root / name / "first", root / name / "whole"):
        began = time.monotonic()
        code, _, err = runs.finish(start(name, root, workdir), timeout=3600)
        assert code == 0, err
    runs.assert_same_run(root / name / "first", workdir)
    return workdir, time.monotonic() - began


def report(failures, workdir, outcomes, check):
    """Calls `check`, whose AssertionError is a failure and keeps the workdir."""
    try:
        check()
    except AssertionError as error:
        failures.append(str(workdir))
        print(f"{workdir} FAILS: {error}", flush=True)
    else:
        shutil.rmtree(workdir)
    print(f"{outcomes.total()}: {dict(sorted(outcomes.items()))}; {len(failures)} failures", flush=True)


def interrupt(whole, root, count, rng):
    """Runs that end otherwise than the uninterrupted one, after so many interruptions in all."""
    outcomes, failures = Counter(), []
    for number in range(count):
        if outcomes.total() >= count:
            break
        name = list(whole)[number % len(whole)]
        workdir = root / name / f"interrupted-{number}"
        for _ in range(min(rng.randint(1, 5), count - outcomes.total())):
            done = interrupt_once(name, root, workdir, whole[name][1], rng)
            if done is None:  # the run was quicker
                break
            outcomes[done] += 1
        code, out, err = runs.finish(start(name, root, workdir), timeout=3600)

        def check(name=name, workdir=workdir, code=code, out=out, err=err):
            assert code == 0, err
            assert "damaged" not in out, out
            runs.assert_same_run(whole[name][0], workdir)

        report(failures, workdir, outcomes, check)
    return failures


def interrupt_once(name, root, workdir, seconds, rng):
    """Starts the run and interrupts it after an event; what was done, None if the run had ended."""
    event, ending = rng.choice(list(EVENTS)), rng.choice(["KILL", "KILL", "KILL", "TERM", "HUP", "STOP", "race"])
    began, delay = state_of(workdir, event), rng.uniform(0, seconds) if event == "moment" else rng.uniform(0, 0.05)
    process = start(name, root, workdir, workers=rng.choice([0, 0, 2]))
    while process.poll() is None and event != "moment" and state_of(workdir, event) == began:
        time.sleep(0.002)
    time.sleep(delay)
    if process.poll() is not None:
        process.communicate()
        return None
    if ending == "race":  # the second is refused, or comes so early that it is first
        code, _, err = runs.finish(start(name, root, workdir), timeout=3600)
        assert code == 0 or "is in use by another run" in err, err
        process.kill()
    elif ending == "STOP":
        process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        process.send_signal(signal.SIGCONT)
        time.sleep(rng.uniform(0, 1))
        process.kill()
    else:
        process.send_signal(getattr(signal, f"SIG{ending}"))
    process.communicate(timeout=3600)
    return f"{ending} after {event}"


def state_of(workdir, event):
    """What changes with an event."""
    found = {}
    for pattern in EVENTS[event]:
        for path in list(workdir.glob(pattern)) if workdir.exists() else ():
            with contextlib.suppress(FileNotFoundError):  # it is renamed at any moment
                found[path] = path.stat().st_mtime_ns
    return found


def damage(whole, root, count, rng):
    """Damages after which a run ended otherwise, and did not say so in one line that names the file."""
    outcomes, failures = Counter(), []
    stopped = {name: run_half(name, root, whole[name][0]) for name in whole} if count else {}
    for number in range(count):
        name = list(whole)[number % len(whole)]
        workdir = root / name / f"damaged-{number}"
        shutil.copytree(rng.choice([stopped[name], whole[name][0]]), workdir)
        kinds = sorted({path.relative_to(workdir).parts[0] for path in files_of(workdir)})
        kind = rng.choice(kinds)
        file = rng.choice([path for path in files_of(workdir) if path.relative_to(workdir).parts[0] == kind])
        way, change = rng.choice(list(ways(file)))
        change()
        code, out, err = runs.finish(start(name, root, workdir, workers=rng.choice([0, 0, 2])), timeout=3600)

        def check(name=name, workdir=workdir, file=file, way=way, kind=kind, code=code, out=out, err=err):
            said = f"{file.relative_to(workdir)} {way}: {out}{err}"
            names = (file.name, kind.partition(".")[0])
            if code:
                assert err.startswith("error: ") and err.count("\n") == 1, said
                assert any(name in err for name in names), said
                outcomes[f"{kind}: named"] += 1
                return
            if "is missing: the figures lack" in out:
                shutil.copy(whole[name][0] / "examples" / file.name, file)
            runs.assert_same_run(whole[name][0], workdir)
            outcomes[f"{kind}: as if nothing had been"] += 1

        report(failures, workdir, outcomes, check)
    return failures


def run_half(name, root, whole):
    """The workdir of a run that was stopped half way."""
    workdir, last = root / name / "half", runs.steps(whole)[-1]
    process = start(name, root, workdir)
    runs.until(process, workdir, last // 2 + 1)
    process.send_signal(signal.SIGTERM)
    code, _, err = runs.finish(process)
    assert code == 0, err
    return workdir


def files_of(workdir):
    """The files that a run reads again."""
    unread = ("figures", "lock", "error.log")
    files = (path for path in sorted(workdir.rglob("*")) if path.is_file())
    return [path for path in files if path.relative_to(workdir).parts[0] not in unread]


def ways(file):
    """(name, function) of the ways to damage a file; those of a log are by line too."""
    names = ("first byte", "middle byte", "last byte", "cut", "emptied", "deleted")
    yield from zip(names[-len(changes := list(runs.damages(file))) :], changes)
    if file.suffix == ".jsonl":
        lines = file.read_bytes().splitlines(keepends=True)
        half = len(lines) // 2
        yield "doubled", lambda: file.write_bytes(b"".join([*lines[:half], *lines[half - 1 :]]))
        yield "reversed", lambda: file.write_bytes(b"".join(lines[::-1]))
        yield "line lost", lambda: file.write_bytes(b"".join([*lines[: half - 1], *lines[half:]]))
        yield "number edited", lambda: file.write_bytes(file.read_bytes().replace(b"0.", b"1.", 1))


def damage_checkpoints(whole, root):
    """Files whose damage gave another state; none if each was harmless, or noticed and the step before used."""
    from jaxcv.experiment import build
    from jaxcv.run.pretrained import read_config
    from jaxcv.store.checkpoint import Checkpoints, read_checkpoint
    from jaxcv.store.digests import by_name

    def bits(state):
        return {name: np.asarray(leaf).tobytes() for name, leaf in by_name(state).items()}

    differ, outcomes = [], Counter()
    for name, (workdir, _) in whole.items():
        experiment, last = build(read_config(Folder(workdir))), runs.steps(workdir)[-1]
        copy, folder = root / name / "copy", (workdir / "checkpoints").absolute()
        known = {
            step: bits(read_checkpoint(folder / str(step), experiment.compiled.abstract, ()))
            for step in runs.steps(workdir)
        }
        for file in sorted((workdir / "checkpoints" / str(last)).rglob("*")):
            for number in range(6 if file.is_file() and file.stat().st_size else 0):
                shutil.copytree(workdir / "checkpoints", copy / "checkpoints")
                list(runs.damages(copy / file.relative_to(workdir)))[number]()
                checkpoints = Checkpoints(Folder(copy))
                with contextlib.redirect_stdout(io.StringIO()) as said:
                    step, state = checkpoints.restore(checkpoints.latest, experiment.compiled.abstract, otherwise="")
                checkpoints.close()
                outcome = "identical" if step == last else "set aside"
                told = said.getvalue().count("\n") == (step != last)
                if known[step] != bits(state) or not told:
                    differ.append(file)
                    outcome = "DIFFERENT"
                outcomes[outcome] += 1
                shutil.rmtree(copy)
        print(f"{name}: {dict(outcomes)}", flush=True)
    return differ


if __name__ == "__main__":
    main()
