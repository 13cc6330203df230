"""The command line: commands, configs and keys by name, help, workdirs, and one line for what is mistyped."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import jaxcv
import runs
from jaxcv import __main__, experiment
from jaxcv.errors import ConfigError
from jaxcv.run import train
from jaxcv.store import manifest
from jaxcv.tools import command, flags
from jaxcv.tools.configs import available, load_config, more_options, override

COMMANDS = ["bench", "convert", "inspect", "predict", "preview", "summary", "sweep", "train", "verify"]
BROKEN = {  # config file -> what is said of it
    "def get_config(:": "mine.py: SyntaxError: invalid syntax (mine.py, line 1)",
    "import nothing_of_this_name": "mine.py, line 1: ModuleNotFoundError: No module named 'nothing_of_this_name'",
    "def get_config(arg):\n    return {}[arg]": "mine.py, line 2: KeyError: 'tiny'",
    "config = 1": "mine.py has no function get_config; a config file has one, which returns a ConfigDict.",
    "def get_config():\n    pass": "mine.py has no variants; write --config=mine.py.",
    "def get_config(arg):\n    pass": "get_config in mine.py must return a ConfigDict, not NoneType.",
}


@pytest.fixture
def jaxcv_says(monkeypatch, capsys, tmp_path):
    """f(*arguments) -> (exit code, stdout, stderr) of the command jaxcv, which is given in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "quiet", lambda: None)

    def say(*arguments):
        monkeypatch.setattr(sys, "argv", ["jaxcv", *arguments])
        return __main__.main(), *capsys.readouterr()

    return say


def parsed(*arguments):
    parser = flags.make_parser("")
    flags.config(parser)
    flags.text(parser, "--workdir", "DIR", "")
    flags.switch(parser, "--override", "")
    flags.integer(parser, "--steps", 5, "", at_least=1)
    return flags.parse(parser, arguments)


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_the_commands_are_listed(arguments, jaxcv_says):
    code, out, err = jaxcv_says(*arguments)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  ")] == COMMANDS
    assert "  train    Trains what a config describes, or resumes the run in its workdir.\n" in out


@pytest.mark.parametrize("arguments", [["--version"], ["train", "--version"], ["verify", "--version"]])
def test_the_versions_are_told(arguments, jaxcv_says):
    versions = manifest.versions()
    said = f"jaxcv {jaxcv.__version__}, jax {versions['jax']}, python {versions['python']}\n"
    assert jaxcv_says(*arguments) == (0, said, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, jaxcv_says, tmp_path):
    for flag in ("--help", "-h"):
        code, out, err = jaxcv_says(name, flag)
        assert (code, err) == (0, "")
        assert f"\njaxcv {name} --" in out and "\n  -h, --help " in out and "--helpfull" not in out
        named = [config for config in available() if f"\n  {config} " in out]
        assert named == ([] if name in ("predict", "verify") else list(available()))
    assert not list(tmp_path.iterdir())


def test_the_help_is_that_of_the_command_as_it_was_typed(monkeypatch, capsys):
    monkeypatch.setattr(command, "quiet", lambda: None)
    monkeypatch.setattr(sys, "argv", ["launch/verify.py", "--help"])
    assert command.run(None, doc="Does.\n\njaxcv verify --workdir=DIR\n", add_flags=lambda parser: None) == 0
    assert capsys.readouterr().out.startswith("Does.\n\npython launch/verify.py --workdir=DIR\n")


def test_the_help_of_a_config_shows_variants_and_values(jaxcv_says):
    code, out, _ = jaxcv_says("train", "--help", "--config=byol:cifar10,tiny", "--config.optim.lr", "0.25")
    assert code == 0 and out.startswith("BYOL, Bootstrap Your Own Latent (arXiv 2006.07733)")
    assert "\n  cifar10        solo-learn's recipe: ResNet-18 at full width, 1000 epochs of batch 256.\n" in out
    for line in (
        "  --override [True]",
        "  --config.optim.lr=0.25",
        "  --config.data.name=cifar10",
        "  --config.data.dir=''",
        "  --config.augment.view1.blur='{}'",
        "  --config.augment.view1.order=\"('crop', 'flip', 'jitter', 'gray', 'blur', 'solarize')\"",
    ):
        assert f"\n{line}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "there is no command 'trian'; did you mean 'train'?"),
        (["--config=byol"], f"there is no command '--config=byol'; choose one of {', '.join(COMMANDS)}."),
        (["preview", "--config=bjol"], "there is no config 'bjol'; did you mean 'byol'?"),
        (["preview", "--config=zzz"], f"there is no config 'zzz'; choose one of {', '.join(available())}."),
        (
            ["preview", "--config=configs/byol.py"],
            "there is no config file configs/byol.py in {}; this package's own is --config=byol.",
        ),
        (
            ["preview", "--config=configs/bjol.py"],
            "there is no config file configs/bjol.py in {}; did you mean 'byol'?",
        ),
        (["preview", "--config=byol:tinny"], "byol has no variant 'tinny'; did you mean 'tiny'?"),
        (["preview", "--config=byol", "--wrokdir", "x"], "there is no flag --wrokdir; choose one of "),
        (["preview", "--config=byol", "--row=3"], "there is no flag --row; did you mean '--rows'?"),
        (["preview", "--config=byol", "resume"], "'resume' is no flag; flags look like --name=value."),
        (["preview", "byol:tiny"], "'byol:tiny' is no flag; write --config=byol:tiny."),
        (["preview", "config=byol:tiny"], "'config=byol:tiny' is no flag; write --config=byol:tiny."),
        (["preview", "--config=byol:tiny:small"], "variants are joined by commas; write --config=byol:tiny,small."),
        (["preview", "--config=."], "--config=. is a folder; name a config ("),
        (["preview", "--config=byol", "--rows=0"], "--rows=0 must be a whole number, 1 or more."),
        (["preview", "--config=byol", "--rows", "x"], "--rows=x must be a whole number, 1 or more."),
        (["preview", "--config"], "--config needs a value."),
        (["train", "--workdir"], "--workdir needs a value."),
        (["predict", "--config.seed=1"], "there is no flag --config.seed; choose one of "),
        (["convert", "--dry-run=no"], "--dry_run=no must be True or False."),
        (["preview"], "give the config to run as --config=NAME, or --config=NAME:VARIANT for one of its variants."),
        (
            ["preview", "--config=byol", "--config.optim.lrr", "1"],
            "unknown config key --config.optim.lrr: there is no 'lrr'; did you mean 'lr'?",
        ),
        (
            ["preview", "--config=byol", "--config.optimm.lr=1"],
            "unknown config key --config.optimm.lr: there is no 'optimm'; did you mean 'optim'?",
        ),
        (
            ["preview", "--config=byol", "--config.optim.lr", "--rows=2"],
            "--config.optim.lr needs a value, as in --config.optim.lr=0.003.",
        ),
        (
            ["preview", "--config=byol", "--config.optim.lr", "fast"],
            "--config.optim.lr=fast must be a number; it is 0.003 now.",
        ),
        (
            ["preview", "--config=byol", "--config.train.batch_size=1.5"],
            "--config.train.batch_size=1.5 must be a whole number; it is 128 now.",
        ),
        (
            ["preview", "--config=byol", "--config.train.stop_on_collapse=maybe"],
            "--config.train.stop_on_collapse=maybe must be True or False; it is False now.",
        ),
        (
            ["preview", "--config=byol", "--config.optim=1"],
            "--config.optim=1: config.optim is a group of keys; set them one by one, as in optim.clip_norm.",
        ),
    ],
)
def test_what_is_mistyped_is_told_in_one_line(arguments, message, jaxcv_says, tmp_path):
    code, out, err = jaxcv_says(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {message.format(tmp_path)}") and err.count("\n") == 1 and err.endswith("\n"), err
    if not message.endswith(("one of ", "(")):
        assert err == f"error: {message.format(tmp_path)}\n"


def test_a_mistyped_file_is_told_with_the_nearest_beside_it(jaxcv_says, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/baseline.py").write_text("")
    (tmp_path / "own.py").write_text("")
    assert jaxcv_says("preview", "--config=own")[2] == "error: there is no config 'own'; did you mean 'own.py'?\n"
    _, _, err = jaxcv_says("preview", "--config=mine/basline.py")
    message = f"error: there is no config file mine/basline.py in {tmp_path}; did you mean 'mine/baseline.py'?\n"
    assert err == message


@pytest.mark.parametrize("text", BROKEN)
def test_a_config_file_that_fails_is_told_with_the_line(text, jaxcv_says, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    assert jaxcv_says("preview", "--config=mine.py:tiny") == (1, "", f"error: {BROKEN[text]}\n")


def test_a_config_is_printed_with_what_is_set(jaxcv_says, tmp_path):
    name, lr, switched = ["--config", "byol:tiny"], ["--config.optim.lr", "1e-3"], ["--config.train.stop_on_collapse"]
    pair = ["--config.optim.freeze=('a.*','b.*')"]
    code, out, err = jaxcv_says("train", "--print_config", *name, *lr, *switched, *pair)
    assert (code, err) == (0, "")
    expected = json.loads(load_config("byol:tiny").to_json())
    expected["optim"] |= {"lr": 1e-3, "freeze": ["a.*", "b.*"]}
    expected["train"]["stop_on_collapse"] = True
    assert json.loads(out) == expected
    again = jaxcv_says(
        "bench", *lr, *pair, "--config.train.stop_on_collapse", "True", "--config=byol:tiny", "--print_config"
    )
    assert again == (0, out, "")
    assert not list(tmp_path.iterdir())


def test_a_blank_is_as_good_as_an_equals_sign():
    args = parsed(
        "--config", "byol", "--steps", "7", "--config.seed", "-3", "--override", "--config.a.b=c d=e", "--config.x"
    )
    assert (args.config, args.steps, args.override) == ("byol", 7, True)
    assert args.overrides == [("seed", "-3"), ("a.b", "c d=e"), ("x", None)]
    assert parsed("--override=True").override and not parsed("--override", "false").override
    assert not parsed().override and parsed().steps == 5


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["--config=byol"], "byol"),
        (["--config=configs/byol.py"], "byol"),
        (["--config=configs/byol.py:cifar10,small"], "byol-cifar10-small"),
        (["--config", "byol:cifar10,small"], "byol-cifar10-small"),
        (["--config=byol", "--config.optim.lr=0.3", "--config.data.dir=/x"], "byol-optim.lr=0.3"),
        (["--config", "byol", "--config.optim.lr", "0.3", "--config.data.dir", "/x"], "byol-optim.lr=0.3"),
        (["--config=byol:tiny", "--config.augment.size=(1, 2)"], "byol-tiny-augment.size=_1,_2_"),
        (["--config=byol", "--config.deterministic"], "byol-deterministic=True"),
    ],
)
def test_the_default_workdir_is_named_after_the_command(arguments, folder, monkeypatch):
    monkeypatch.chdir(runs.ROOT)
    assert command.workdir(parsed(*arguments)) == Path("runs") / folder


def test_config_files_of_one_name_have_workdirs_of_their_own(monkeypatch, tmp_path):
    for file in ("byol.py", "a/byol.py", "b/byol.py"):
        (tmp_path / "here" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(runs.ROOT / "configs/byol.py", tmp_path / "here" / file)
    monkeypatch.chdir(tmp_path / "here")

    def workdir(config):
        return command.workdir(parsed(f"--config={config}"))

    names = [workdir(config).name for config in ("byol", "byol.py", "a/byol.py", "b/byol.py")]
    assert len(set(names)) == 4 and names[0] == "byol" and all(name.startswith("byol-") for name in names[1:])
    assert workdir("a/byol.py:tiny").name == f"{names[2]}-tiny"
    for same in ("./a/byol.py", "b/../a/byol.py", tmp_path / "here/a/byol.py"):
        assert workdir(same).name == names[2]
    (tmp_path / "here").rename(tmp_path / "there")  # a project that is moved finds its runs
    monkeypatch.chdir(tmp_path / "there")
    assert workdir("a/byol.py").name == names[2]


def test_a_name_that_is_too_long_is_cut_and_stays_unique(tmp_path):
    def workdir(value):
        return command.workdir(parsed("--config=byol", f"--config.init_from={value}"))

    fits, one, other = workdir("x" * 240), workdir("x" * 300), workdir("x" * 301)
    assert fits.name == f"byol-init_from={'x' * 240}" and len(fits.name) == 255
    assert len(one.name) == len(other.name) == 255 and one != other and workdir("x" * 300) == one
    assert len(workdir("é" * 200).name.encode()) <= 255
    (tmp_path / one).mkdir(parents=True)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["launch/main.py", "--config=byol", "--config.a=b c"], "python launch/main.py --config=byol '--config.a=b c'"),
        (["/usr/lib/python/jaxcv/__main__.py", "train", "--config", "byol"], "python -m jaxcv train --config byol"),
        (["/bin/jaxcv", "train"], "jaxcv train"),
        (["/opt/jaxcv", "train"], "/opt/jaxcv train"),
    ],
)
def test_the_command_is_repeated_as_it_was_typed(argv, said, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    assert manifest.command_line() == said


def test_a_config_is_loaded_by_name_with_values(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = load_config("byol:tiny", {"optim.lr": 1, "optim.freeze": ["a.*"]}, seed=7)
    assert (config.optim.lr, config.optim.freeze, config.seed) == (1.0, ("a.*",), 7)
    assert config.is_locked and load_config("byol").train.batch_size == 128
    assert load_config(Path("byol"), {"optim": {"lr": 0.5}, "data": {}}) == load_config("byol", {"optim.lr": 0.5})
    shutil.copy(runs.ROOT / "configs/byol.py", tmp_path / "mine.py")
    assert load_config("mine.py:tiny") == load_config("byol:tiny")
    for values, message in (
        ({"optim.lrr": 1}, "unknown config key config.optim.lrr: there is no 'lrr'; did you mean 'lr'?"),
        ({"sed": 1}, "unknown config key config.sed: there is no 'sed'; did you mean 'seed'?"),
        ({"seed.x": 1}, "unknown config key config.seed.x: there is no 'x'; choose one of (none)."),
        ({"seed": "x"}, "config.seed='x' must be a whole number; it is 0 now."),
        ({"optim": {"lrr": 1}}, "unknown config key config.optim.lrr: there is no 'lrr'; did you mean 'lr'?"),
        ({"optim": 1}, "config.optim=1: config.optim is a group of keys; set them one by one, as in optim.clip_norm."),
    ):
        with pytest.raises(ConfigError) as error:
            load_config("byol", values)
        assert str(error.value) == message
    with pytest.raises(ConfigError, match=r"named by text or a path, as in load_config\('byol:tiny'\), not by None"):
        load_config(None)


def test_a_config_with_a_sweep_is_not_trained(tmp_path):
    with pytest.raises(ConfigError, match="this config has a sweep of 5 rows; run them all with jaxcv sweep"):
        train.run(load_config("fashion_mnist:ablation"), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_the_package_offers_its_functions_and_loads_no_jax():
    assert jaxcv.build is experiment.build and jaxcv.train is train.run and jaxcv.load_config is load_config
    assert callable(jaxcv.load_run) and {*jaxcv.__all__} < {*dir(jaxcv)}
    with pytest.raises(AttributeError, match="module 'jaxcv' has no attribute 'biuld'"):
        _ = jaxcv.biuld
    code = "import sys, jaxcv\nassert set(sys.modules).isdisjoint({'jax', 'numpy', 'absl', 'ml_collections'})\n"
    code += "jaxcv.load_config('byol:tiny')\nimport jaxcv.__main__\nassert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_a_reader_that_has_had_enough_is_no_error():
    process = subprocess.Popen([sys.executable, "-m", "jaxcv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(timeout=60) == 0
    process.stderr.close()


def test_a_command_runs(jaxcv_says):
    code, out, err = jaxcv_says("summary", "--config", "networks:basenet")
    assert (code, err) == (0, "") and "4,414" in out


def test_options_that_a_config_does_not_spell_out():
    values = {"data.test_folder": "new", "task.label_smoothing": 0.1, "optim.cosine.final_lr": 1e-4, "eval.tile": 64}
    config = load_config("binary:small", values)
    assert [config.data.test_folder, config.task.label_smoothing] == ["new", 0.1]
    assert [config.optim.cosine.final_lr, config.eval.tile] == [1e-4, 64]
    config = load_config("unet")
    flags = {"optim.lion.b1": "0.8", "optim.name": "lion", "evals.knn.k": "7", "evals.names": "('measure', 'knn')"}
    override(config, list(flags.items()))
    assert (config.optim.lion.b1, config.evals.knn.k, config.evals.names) == (0.8, 7, ("measure", "knn"))
    flags = {"optim.schedule": "polynomial", "optim.polynomial.end_value": "1e-5", "optim.name": "nadam"}
    override(config, list({**flags, "optim.nadam.b1": "0.7"}.items()))
    assert (config.optim.polynomial.end_value, config.optim.nadam.b1) == (1e-5, 0.7)
    with pytest.raises(ConfigError, match="config.data.tset: there is no 'tset'; did you mean 'test_folder'|choose"):
        load_config("binary", {"data.tset": "x"})
    with pytest.raises(ConfigError, match="config.optim.lion.b1: there is no 'lion'; choose one of"):
        load_config("binary", {"optim.lion.b1": 0.5})
    more = dict(more_options(load_config("unet:tiny")))
    assert more["model.num_classes"] == 2 and more["optim.cosine.final_lr"] == 0.0 and "optim.lr" not in more
