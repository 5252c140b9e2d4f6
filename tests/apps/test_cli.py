"""The command line: what it writes, says and refuses."""

import argparse
import shlex
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
from torch import nn

import xaiutils
from xaiutils import plots
from xaiutils.apps.cli import __main__ as cli
from xaiutils.hybrid import explain
from xaiutils.methods import METHODS
from xaiutils.network.classifier import load_model, wrap
from xaiutils.pictures import scenes
from xaiutils.pictures.images import Transform, load_image


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "three.png"
    scenes.sample("unit", 3).image.save(path)
    return path


SHAPES = ("--model", "scenes_vgg_seed0")


@pytest.fixture
def undrawn(monkeypatch):
    """Figures take most of a command's time, and are not looked at."""
    monkeypatch.setattr(plots, "save", lambda figure, path, scale: path.touch())


def test_explain_writes_the_maps_that_explain_computes(picture, tmp_path, capsys):
    assert cli.main(["explain", *SHAPES, str(picture), "--out", str(tmp_path / "out")]) == 0
    classifier = load_model("scenes_vgg_seed0")
    found = explain(classifier, classifier.preprocess(scenes.sample("unit", 3).image))
    with np.load(tmp_path / "out" / "three.npz") as saved:
        for name in ("cam", "bounded", "relevance", "product", "hybrid", "logits"):
            np.testing.assert_allclose(saved[name], getattr(found, name)[0], atol=1e-6)
        assert saved["target"] == found.target[0]
        assert saved["setting_threshold"] == 0.2
    with PIL.Image.open(tmp_path / "out" / "three.png") as drawn:
        assert drawn.width > 800
    assert classifier.classes[int(found.target[0])] in capsys.readouterr().out


def test_pictures_of_one_name_get_their_endings(picture, tmp_path, undrawn):
    with PIL.Image.open(picture) as image:
        image.save(tmp_path / "three.bmp")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "._three.png").write_bytes(b"of another system")
    assert cli.main(["explain", *SHAPES, str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    names = sorted(path.stem for path in (tmp_path / "out").glob("*.npz"))
    assert names == ["three_bmp", "three_png"]


def test_a_picture_that_a_method_cannot_explain_does_not_stop_the_others(
    picture, tmp_path, capsys, undrawn
):
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "noise.png")
    command = ["explain", str(tmp_path / "noise.png"), str(picture)]
    command += ["--method", "feature_ablation", "--set", "batch_size=8", "--out", str(tmp_path)]
    assert cli.main(command) == 2
    assert "noise.png: segments must be at least 2" in capsys.readouterr().err
    with np.load(tmp_path / "three_feature_ablation.npz") as saved:
        assert saved["setting_threshold"] == 0.2
        assert saved["setting_feature_ablation_batch_size"] == 8


def test_explain_takes_a_class_by_name_and_every_setting(picture, tmp_path, undrawn):
    options = ["--target", "ring", "--threshold", "0.4", "--sigma", "0", "--composite", "epsilon"]
    options += ["--cam", "layer_cam", "--cam-layer", "features.9", "--out", str(tmp_path / "out")]
    assert cli.main(["explain", *SHAPES, str(picture), *options]) == 0
    with np.load(tmp_path / "out" / "three.npz") as saved:
        assert saved["target"] == scenes.CLASSES.index("ring")
        np.testing.assert_array_equal(saved["hybrid"], saved["product"])
        assert str(saved["setting_cam_layer"]) == "features.9"


def test_a_picture_that_cannot_be_read_does_not_stop_the_others(picture, tmp_path, capsys, undrawn):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not asked for")
    scenes.sample("unit", 4).image.save(folder / "four.png")
    out = tmp_path / "out"
    assert cli.main(["explain", *SHAPES, str(folder), str(picture), "--out", str(out)]) == 2
    assert sorted(path.stem for path in out.glob("*.npz")) == ["four", "three"]
    said = capsys.readouterr().err
    assert "broken.png must be a picture" in said
    assert "notes" not in said
    assert "1 of 3 pictures could not be explained" in said
    with np.load(out / "four.npz") as saved:
        assert saved["target_name"] == scenes.CLASSES[int(saved["target"])]
        assert saved["model"] == "scenes_vgg_seed0"
        shares = [float(saved[key]) for key in saved if key.startswith("share_")]
    assert sum(shares) == pytest.approx(1, abs=1e-3)


def test_the_overlay_and_the_maps_of_the_original_size(tmp_path, monkeypatch):
    """The network sees 128 x 128 in the middle of the resized picture; the rest stays unknown."""
    plain = load_model("scenes_vgg_seed0")
    seen = Transform(160, (128, 128), plain.transform.mean, plain.transform.std)
    mine = wrap(plain.module, plain.classes, transform=seen)
    monkeypatch.setattr("xaiutils.network.classifier.load_model", lambda *_, **__: mine)
    scenes.sample("unit", 3).image.resize((300, 200)).save(tmp_path / "wide.png")
    out = tmp_path / "out"
    run = ["explain", str(tmp_path / "wide.png"), "--out", str(out)]
    assert cli.main(run) == 0
    with np.load(out / "wide.npz") as saved:
        small = saved["hybrid"]
        assert small.shape == (128, 128)
    with PIL.Image.open(out / "wide_overlay.png") as drawn:
        overlay = np.asarray(drawn)
    assert overlay.shape == (200, 300, 3)
    assert cli.main([*run, "--size", "original"]) == 0
    picture = load_image(tmp_path / "wide.png")
    with np.load(out / "wide.npz") as saved:
        np.testing.assert_array_equal(saved["hybrid"], mine.to_picture(small, picture))
        assert saved["relevance_per_channel"].shape == (3, 200, 300)
        assert str(saved["setting_size"]) == "original"
        unseen = np.isnan(saved["hybrid"])
    assert unseen[:, [0, -1]].all()
    assert unseen.mean() == pytest.approx(1 - (0.8 * 200) ** 2 / 60_000, abs=0.01)
    bright = np.asarray(picture.convert("L")).astype(float)
    grey = overlay.mean(2)
    assert grey[unseen].mean() / bright[unseen].mean() < 0.7 * grey[~unseen].mean() / bright.mean()


def test_an_array_is_explained_from_its_file(tmp_path, monkeypatch, capsys):
    net = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    mine = wrap(nn.Sequential(net, nn.Linear(4, 2)).eval(), size=(30,))
    monkeypatch.setattr("xaiutils.network.classifier.load_model", lambda *_, **__: mine)
    array = np.random.default_rng(0).normal(size=(2, 30))
    np.save(tmp_path / "signal.npy", array)
    for more, key in (([], "hybrid"), (["--method", "lrp_paper"], "map")):
        command = ["explain", str(tmp_path / "signal.npy"), "--out", str(tmp_path), *more]
        assert cli.main(command) == 0
        with np.load(next(tmp_path.glob(f"*{'lrp_paper' if more else 'signal'}.npz"))) as saved:
            assert saved[key].shape == (30,)
    assert not list(tmp_path.glob("*overlay*"))
    np.save(tmp_path / "other.npy", array.T)
    assert cli.main(["explain", str(tmp_path / "other.npy"), "--out", str(tmp_path)]) == 2
    assert "np.moveaxis(array, -1, 0)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*SHAPES, "sample:chelsea", "--target", "7"], "class must be a name or in 0..5, got 7"),
        (["sample:chelsea", "--set", "steps=3"], "--set must go with --method"),
        (["."], "must be a folder with pictures"),
        ([""], "got an empty name"),
        (["absent.png"], "must be an existing file"),
        (["sample:chelsea", "--model", "scenes_vgg_sed0"], "did you mean scenes_vgg_seed0"),
        ([*SHAPES, "sample:chelsea", "--target", "rung"], "did you mean ring"),
        (["sample:chelsea", "--threshold", "1"], "threshold must be >= 0 and < 1, got 1"),
        (["sample:chelsea", "--sigma", "-1"], "sigma must be >= 0, got -1"),
        (["a/one.png", "b/one.png"], "different file names, got one_png twice"),
        (["sample:chelsea", "--cam-layer", "features.99"], "layer must be a known name"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(arguments, message, tmp_path, capsys):
    assert cli.main(["explain", *arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_another_method_is_drawn_alone_and_inside_the_figure(picture, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["explain", *SHAPES, str(picture), "--method", "lrp_epsilon", "--target", "ring"]
    assert cli.main([*command, "--out", str(out)]) == 0
    assert "ring (0.1%) -> " in capsys.readouterr().out
    classifier = load_model("scenes_vgg_seed0")
    x = classifier.preprocess(scenes.sample("unit", 3).image)
    target = classifier.class_index("ring")
    with np.load(out / "three_lrp_epsilon.npz") as saved:
        expected = METHODS["lrp_epsilon"](classifier, x, target)[0]
        np.testing.assert_array_equal(saved["map"], expected)
        assert saved["target"] == target
    with PIL.Image.open(out / "three_lrp_epsilon.png") as drawn:
        assert drawn.width > 800
    settings = ["--method", "hybrid", "--sigma", "5", "--set", "threshold=0.4", "--target", "2"]
    assert cli.main(["explain", *SHAPES, str(picture), *settings, "--out", str(out)]) == 0
    with np.load(out / "three_hybrid.npz") as saved:
        expected = explain(classifier, x, 2, sigma=5, threshold=0.4).hybrid[0]
        np.testing.assert_array_equal(saved["map"], expected)
    assert cli.main(["explain", *SHAPES, str(picture), "--method", "saliency", "--sigma", "5"]) == 2
    assert "setting of saliency must be" in capsys.readouterr().err
    assert cli.main(["explain", *SHAPES, str(picture), "--method", "lpr"]) == 2
    assert "method must be a known name, got 'lpr'" in capsys.readouterr().err


def test_no_setting_is_pickled_into_the_maps(picture, tmp_path, undrawn):
    command = ["explain", *SHAPES, str(picture), "--method", "layer_cam", "--set", "layer=None"]
    assert cli.main([*command, "--out", str(tmp_path)]) == 0
    with np.load(tmp_path / "three_layer_cam.npz") as saved:  # refuses pickled objects
        assert {
            key: saved[key].dtype.kind for key in saved.files if saved[key].dtype.hasobject
        } == {}
        assert saved["setting_layer_cam_layer"] == "None"


def test_full_scale_of_12_bits(tmp_path, undrawn):
    values = np.linspace(0, 4095, 128 * 128).astype(np.uint16).reshape(128, 128)
    PIL.Image.fromarray(values).save(tmp_path / "twelve.png")
    command = ["explain", *SHAPES, str(tmp_path / "twelve.png"), "--full-scale", "4095"]
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 0
    with np.load(tmp_path / "out" / "twelve.npz") as saved:
        classifier = load_model("scenes_vgg_seed0")
        bright = load_image(values / 4095)
        found = classifier.predict(classifier.preprocess(bright))[0]
        np.testing.assert_allclose(saved["logits"], found, atol=1e-5)


def test_a_module_of_the_working_directory_replaces_none_of_a_library(tmp_path):
    (tmp_path / "yaml.py").write_text("raise SystemExit('not the library')")
    (tmp_path / "mine.py").write_text("def made():\n    return 'mine'")
    asks = (
        "import subprocess, sys\n"
        "from xaiutils.apps.cli.__main__ import run\n"
        "child, folder = sys.argv[1:]\n"
        "sys.argv[1:] = ['--unknown']\n"
        "try:\n    run()\n"
        "except SystemExit:\n"
        "    subprocess.run([sys.executable, '-c', child], cwd=folder, check=True)"
    )
    child = (
        "import yaml; from xaiutils.support.plugins import made_by;"
        "print(yaml.__file__, made_by('mine:made', str))"
    )
    (tmp_path / "notebooks").mkdir()  # a kernel starts where its notebook lies
    done = subprocess.run(
        [sys.executable, "-P", "-c", asks, child, str(tmp_path / "notebooks")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    library, made = done.stdout.split()
    assert made == "mine"
    assert "site-packages" in library


def test_an_interruption_while_modules_load_is_said_in_words(tmp_path):
    # A module that is loaded early waits to be interrupted.
    (tmp_path / "numpy.py").write_text("import signal; signal.raise_signal(signal.SIGINT)")
    ask = (
        "import sys; sys.path.insert(0, sys.argv.pop());"
        "from xaiutils.apps.cli.__main__ import run; sys.exit(run())"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask, "methods", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "xaiutils: interrupted\n")


def test_the_version_needs_no_torch():
    asks = (
        "import sys\nfrom xaiutils.apps.cli.__main__ import main\n"
        "try:\n    main(['--version'])\n"
        "except SystemExit as end:\n"
        "    print(end.code, [n for n in ('torch', 'pandas', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert done.stdout == f"xaiutils {xaiutils.__version__}\n0 []\n"


def test_every_command_has_an_example_that_it_takes():
    found, commands = [], {"xaiutils": cli._parser()}
    while commands:
        name, parser = commands.popitem()
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                commands |= {f"{name} {verb}": one for verb, one in action.choices.items()}
        if parser.epilog:
            found.append(name)
            assert parser.epilog.startswith(f"example: {name}")
            cli._parser().parse_args(shlex.split(parser.epilog)[2:])
    assert {"xaiutils explain", "xaiutils study merge", "xaiutils user-study power"} <= {*found}


def wrong(*_):
    return METHODS["hybrid"](None, None)


@pytest.mark.parametrize(
    ("fails", "code", "said"),
    [
        (wrong, 2, "classifier must be"),  # by a check of ours
        (lambda *_: len(3), 1, "object of type 'int' has no len(); a fault of the program: "),
    ],
)
def test_a_fault_is_told_from_a_wrong_argument(fails, code, said, monkeypatch, capsys):
    monkeypatch.setattr("xaiutils.network.classifier.load_model", fails)
    assert cli.main(["methods"]) == code
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    assert ("xaiutils --debug methods shows where" in told) == (code == 1)
    assert cli.main(["--debug", "methods"]) == code
    told = capsys.readouterr().err
    assert told.startswith("Traceback")
    assert "test_cli.py" in told


def test_a_library_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch, capsys):
    for name in {"captum", *(name for name in sys.modules if name.startswith("captum."))}:
        monkeypatch.setitem(sys.modules, name, None)
    words = ["explain", "sample:chelsea", "--method", "lime", "--out", str(tmp_path)]
    assert cli.main(words) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(
        "xaiutils explain: captum is not installed, and this needs it: pip install"
    )
    assert said.endswith("'xaiutils[all]'")


def test_methods_lists_what_suits_a_network(capsys):
    assert cli.main(["methods"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in METHODS)
    assert "no: it has no attention over patches" in told
