"""Interrupts and damages runs, lets them go on, and compares what they end with: not one bit may differ, or it is said.

python tests/soak.py --kills=100 [--seed=0] [--configs=colorize,byol,fashion_mnist,camvid]
python tests/soak.py --snapshots=100 [...]     kills whose runs stay alive, many times as fast
python tests/soak.py --damages=100 [...]       one file of a run is flipped, cut, emptied, deleted, its lines moved
python tests/soak.py --checkpoints [...]       every file of a real run's last checkpoint, in every way

A killed process leaves the files of that moment. So a snapshot stops a run, copies its folder, lets both go on to their
ends, the copy as a run that resumes, and compares both. Snapshots and damages have a server run the commands: one
process, in which what is compiled and traced stays.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import runs
from jaxcv.errors import UserError
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
    parser.add_argument("--snapshots", type=int, default=0)
    parser.add_argument("--damages", type=int, default=0)
    parser.add_argument("--checkpoints", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--configs", default="colorize,byol,fashion_mnist,camvid")
    parser.add_argument("--folder", help="is kept, with the runs that fail; a second call finds the uninterrupted ones")
    parser.add_argument("--serve", action="store_true", help="used by this script")
    options = parser.parse_args()
    command.quiet()
    if options.serve:
        return serve()
    with contextlib.ExitStack() as stack:
        root = Path(options.folder or stack.enter_context(tempfile.TemporaryDirectory()))
        rng, ask = random.Random(options.seed), stack.enter_context(server(root))
        whole = {name: run_whole(name, root, ask) for name in options.configs.split(",")}
        failures = interrupt(whole, root, options.kills, rng)
        failures += snapshot(whole, root, options.snapshots, rng, ask)
        failures += damage(whole, root, options.damages, rng, ask)
        failures += damage_checkpoints(whole, root) if options.checkpoints else []
    raise SystemExit(bool(failures))


def flags_of(name, root, workdir):
    return [*runs.flags_of(name, root / "data"), f"--workdir={workdir}"]


def start(name, root, workdir, workers=0):
    workers = (f"--config.data.workers={workers}",) if workers else ()
    return runs.start("main.py", *flags_of(name, root, workdir), *workers, cache=root / "cache")


@contextlib.contextmanager
def server(root):
    """Gives ask(flags): starts a command in a process that runs one after the other; an object with its `process`,
    `done()` and `answer()`, which is (code, stdout, stderr)."""
    settings = {"JAX_COMPILATION_CACHE_DIR": str(root / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve"],
        cwd=runs.ROOT,
        env=runs.environment(**settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(flags):
        print(json.dumps(flags), file=process.stdin, flush=True)
        answers = []
        reader = threading.Thread(target=lambda: answers.append(process.stdout.readline()))
        reader.start()

        def answer():
            reader.join()
            return json.loads(answers[0])

        return SimpleNamespace(process=process, done=lambda: bool(answers), answer=answer)

    with process:
        yield ask
        process.stdin.close()


def serve():
    """Runs the commands that come as lines of JSON; answers each with a line, [code, stdout, stderr]."""
    from jaxcv.report import style
    from jaxcv.run import train
    from jaxcv.store.files import write_atomic

    sys.path.insert(0, str(runs.ROOT / "launch"))
    import main as launched

    build, check, make = train.build, train.check_contract, train.make_evaluation
    experiments, evaluations, stop = {}, {}, []

    def build_once(config):
        key = config.to_json()
        if key not in experiments:
            experiments[key] = build(config)
            check(experiments[key], name=config.task.name)
        return experiments[key]

    def make_once(experiment, should_stop):
        stop[:] = [should_stop]
        if id(experiment) not in evaluations:
            evaluations[id(experiment)] = make(experiment, lambda: stop[0]())
        return evaluations[id(experiment)]

    train.build, train.make_evaluation, train.check_contract = build_once, make_once, lambda experiment, name: None
    style.save = lambda figure, path: write_atomic(path, b"a figure")  # drawing takes most of the time
    command.quiet = lambda: None  # it has been called, and needs a file as stderr
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            code = launched.main(json.loads(line))
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one that comes too early or too late
        print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)


def run_whole(name, root, ask):
    """The workdir of an uninterrupted run, the same as one in another process."""
    first, workdir = root / name / "first", root / name / "whole"
    for folder, run in (
        (first, lambda: ask(flags_of(name, root, first)).answer()),
        (workdir, lambda: runs.finish(start(name, root, workdir), timeout=3600)),
    ):
        if not (folder / "result.json").exists():
            code, _, err = run()
            assert code == 0, err
    runs.assert_same_run(first, workdir)
    return workdir


def seconds_of(workdir):
    """How long a run took."""
    return (workdir / "result.json").stat().st_mtime - (workdir / "config.json").stat().st_mtime


def report(failures, workdir, outcomes, check):
    """Calls `check`, whose AssertionError is a failure and keeps the workdir."""
    try:
        check()
    except AssertionError as error:
        failures.append(str(workdir))
        line = traceback.extract_tb(error.__traceback__)[-1].line
        print(f"{workdir} FAILS: {error or line}", flush=True)
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
            done = interrupt_once(name, root, workdir, seconds_of(whole[name]), rng)
            if done is None:  # the run was quicker
                break
            outcomes[done] += 1
        code, out, err = runs.finish(start(name, root, workdir), timeout=3600)

        def check(name=name, workdir=workdir, code=code, out=out, err=err):
            assert code == 0, err
            assert "damaged" not in out, out
            runs.assert_same_run(whole[name], workdir, stopped=True)

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


def snapshot(whole, root, count, rng, ask):
    """Runs, and copies of them, that end otherwise than the uninterrupted one, after so many snapshots and signals."""
    outcomes, failures, number = Counter(), [], 0
    while outcomes.total() < count:
        name = rng.choice(list(whole))
        copies = [root / name / f"snapshot-{number}-{depth}" for depth in range(rng.randint(2, 6))]
        number += 1
        stopped = False  # by a signal, in this run or before
        for workdir, copy in zip(copies, [*copies[1:], None]):
            event, ending = rng.choice(list(EVENTS)), rng.choice(["KILL", "KILL", "KILL", "KILL", "TERM", "race"])
            delay = rng.choice([0, 0, 0.01, 0.1, 0.5, rng.uniform(0, 5)])
            began, run = state_of(workdir, event), ask(flags_of(name, root, workdir))
            while copy and not run.done() and event != "moment" and state_of(workdir, event) == began:
                time.sleep(0.001)
            time.sleep(delay if copy else 0)
            if not copy or run.done():
                copy = ending = None
            elif ending == "KILL":
                run.process.send_signal(signal.SIGSTOP)
                os.waitpid(run.process.pid, os.WUNTRACED)
                with contextlib.suppress(FileNotFoundError):  # the run had not made it
                    shutil.copytree(workdir, copy)
                run.process.send_signal(signal.SIGCONT)
            elif ending == "TERM":
                run.process.send_signal(signal.SIGTERM)
            refused = ending == "race" and is_locked(workdir)
            code, out, err = run.answer()
            if ending == "KILL" or refused or "To resume, run" in out:
                outcomes[f"{ending} after {event}"] += 1
            if "To resume, run" in out or "is in use by another run" in err:  # by this process, which came first
                stopped = stopped or bool(out)
                workdir.rename(copy)
                continue

            def check(name=name, workdir=workdir, code=code, out=out, err=err, stopped=stopped):
                assert code == 0, err
                assert "damaged" not in out, out
                runs.assert_same_run(whole[name], workdir, stopped=stopped)

            report(failures, workdir, outcomes, check)
            if not copy or not copy.exists():
                break
    return failures


def is_locked(workdir):
    """Whether a second run in `workdir` would be refused."""
    try:
        with Folder(workdir).locked():
            return False
    except UserError as error:
        assert "is in use by another run" in str(error), error
        return True


def state_of(workdir, event):
    """What changes with an event."""
    found = {}
    for pattern in EVENTS[event]:
        with contextlib.suppress(FileNotFoundError):  # a file or folder is renamed at any moment
            found |= {path: path.stat().st_mtime_ns for path in workdir.glob(pattern)}
    return found


def damage(whole, root, count, rng, ask):
    """Damages after which a run ended otherwise, and did not say so in one line that names the file."""
    outcomes, failures = Counter(), []
    halves = {name: run_half(name, root, whole[name]) for name in whole} if count else {}
    for number in range(count):
        name = list(whole)[number % len(whole)]
        workdir = root / name / f"damaged-{number}"
        source = rng.choice([halves[name], whole[name]])
        shutil.copytree(source, workdir)
        kinds = sorted({path.relative_to(workdir).parts[0] for path in files_of(workdir)})
        kind = rng.choice(kinds)
        file = rng.choice([path for path in files_of(workdir) if path.relative_to(workdir).parts[0] == kind])
        way, change = rng.choice(list(ways(file)))
        change()
        code, out, err = ask(flags_of(name, root, workdir)).answer()

        stopped = source == halves[name]

        def check(
            name=name, workdir=workdir, file=file, way=way, kind=kind, code=code, out=out, err=err, stopped=stopped
        ):
            said = f"{file.relative_to(workdir)} {way}: {out}{err}"
            names = (file.name, kind.partition(".")[0])
            if code:
                assert err.startswith("error: ") and err.count("\n") == 1, said
                assert any(name in err for name in names), said
                outcomes[f"{kind}: named"] += 1
                return
            if "is missing: the figures lack" in out:
                shutil.copy(whole[name] / "examples" / file.name, file)
            runs.assert_same_run(whole[name], workdir, stopped=stopped)
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
    for name, workdir in whole.items():
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
