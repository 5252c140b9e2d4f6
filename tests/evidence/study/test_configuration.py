"""A study is what its hash says: every setting counts, and none is changed on the way."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from tests.evidence.study import own_workload
from tests.evidence.study.own_workload import NAME, OTHERS, make_pictures
from xaiutils.evidence import fingerprint
from xaiutils.evidence.study import create_study, open_study, run_study
from xaiutils.evidence.study.configuration import parse_method, parse_metric
from xaiutils.evidence.study.folder import check_asked
from xaiutils.methods import METHODS
from xaiutils.metrics import METRICS

SMALL = {"methods": ["random_map"], "metrics": ["sparseness"], "images": 2}


def test_a_method_is_its_name_its_settings_and_what_it_is_combined_with():
    plain = parse_method("hybrid")
    assert (plain.label, plain.method, dict(plain.settings)) == ("hybrid", METHODS["hybrid"], {})
    changed = parse_method("hybrid:threshold=0.4,composite=epsilon_plus")
    assert changed.label == "hybrid(threshold=0.4, composite=epsilon_plus)"
    assert changed.settings == {"threshold": 0.4, "composite": "epsilon_plus"}
    inside = parse_method("grad_cam*occlusion:threshold=0.5")
    assert inside.label == "grad_cam x occlusion(threshold=0.5)"
    assert inside.settings == {"threshold": 0.5}
    assert parse_metric("avg_sensitivity:samples=20") == ("avg_sensitivity", {"samples": 20})
    assert parse_method("oracle_mask").method is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hybird", "name must be a known name, got 'hybird'"),
        ("hybrid:thresh=1", "setting of hybrid must be a known name, got 'thresh'"),
        ("hybrid:threshold", "must be name:setting=value,setting=value, got 'threshold'"),
        ("hybrid:threshold=0.4,threshold=0.5", "must give each setting once, got threshold twice"),
        ("grad_cam*nothing", "methods must be a known name, got 'nothing'"),
        ("grad_cam*occlusion:blur=1", "setting of grad_cam x occlusion must be a known name"),
    ],
)
def test_a_wrong_method_is_named(text, message):
    with pytest.raises(ValueError, match=message.replace("*", r"\*")):
        parse_method(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": []}, "methods must be one or more, each once, got none"),
        ({"methods": ["hybrid", "hybrid"]}, "methods must be one or more, each once, got hybrid"),
        ({"metrics": ["srg", "srg:steps=5"]}, "metrics must be one or more, each once, got srg"),
        ({"metrics": ["beauty"]}, "metrics must be a known name, got 'beauty'"),
        ({"seeds": []}, "seeds must be one or more, each once"),
        ({"seeds": [1, 1]}, "seeds must be one or more, each once"),
        ({"part": 0}, "part must be"),
        ({"threads": 1.5}, "threads must be"),
        ({"batch": "most"}, "batch must be a known name, got 'most'"),
        ({"batch": 0}, "batch must be"),
        ({"device": "tpu"}, "device must be a known name, got 'tpu'"),
        ({"images": 0}, "images must be"),
        ({"seeds": [2**31]}, "seeds must be below 2"),
        (
            {
                "workload": "photographs",
                "model": "squeezenet1_0",
                "weights": "random",
                "split": "hard",
            },
            "split must be one that photographs has, got 'hard'",
        ),
        ({"workload": "nothing:here"}, "name must be module:function to import"),
        ({"workload": "json:dumps"}, "missing 1 required positional argument"),
        ({"workload": "os:getcwd"}, "os:getcwd must return a Workload, got"),
    ],
)
def test_a_wrong_study_is_refused_and_leaves_nothing(tmp_path, change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        create_study(tmp_path / "study", **(SMALL | change))
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"methods": ["random_map", "hybrid:threshold=2"]},
            r"methods must have settings that they take, hybrid\(threshold=2\) refuses "
            "threshold=2: threshold must be",
        ),
        ({"methods": ["hybrid:composite=papr"]}, "composite must be a known name, got 'papr'"),
        ({"methods": ["grad_cam*lrp_paper:threshold=2"]}, "threshold must be"),
        ({"metrics": ["srg:steps=0"]}, "metrics must have settings that they take, srg refuses"),
        (
            {"methods": [f"hybrid:threshold={'-' * 100_000}1"]},
            "hybrid:threshold must be a value that can be read, got 100001 signs nested too deep",
        ),
        ({"methods": [f"hybrid:threshold={'9' * 4000}"]}, "threshold must be finite"),
    ],
)
def test_a_setting_that_no_picture_would_get_through_is_refused_at_the_start(
    tmp_path, change, message
):
    with pytest.raises(ValueError, match=message):
        create_study(tmp_path / "study", **(SMALL | change))
    assert not (tmp_path / "study").exists()


def test_a_setting_is_not_refused_for_what_the_method_does_with_any(tmp_path, monkeypatch):
    def fails(classifier, x, target, **settings):
        raise ZeroDivisionError("always")

    broken = replace(METHODS["grad_cam"], function=fails)
    monkeypatch.setitem(METHODS, "grad_cam", broken)
    (key, setting), *_ = METHODS["hybrid"].settings.items()
    monkeypatch.setitem(METHODS, "grad_cam", replace(broken, settings={key: setting}))
    create_study(tmp_path / "study", **(SMALL | {"methods": [f"grad_cam:{key}=3"]}))


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="folder must be new or empty"):
        create_study(tmp_path, **SMALL)
    with pytest.raises(FileNotFoundError, match=r"folder must hold a study, .* has no study\.json"):
        open_study(tmp_path)


def test_a_beginning_that_was_killed_is_begun_anew(tmp_path, fresh):
    whole = create_study(tmp_path / "whole", **SMALL)
    (whole.path / "study.json").unlink()
    (whole.path / ".study.json.abc.tmp").write_bytes(b"{")
    again = create_study(whole.path, **SMALL)
    assert again.study == whole.study
    with pytest.raises(FileExistsError, match="folder must be new or empty"):
        create_study(whole.path, **SMALL)  # of two who begin at once the second finds a study


def test_every_field_changes_the_hash(fresh):
    study, seen = fresh.study, {fresh.study.hash}
    for field in fields(study):
        value = getattr(study, field.name)
        other = {
            str: f"{value}x",
            int: 7,
            bool: not value,
            tuple: (*value[:0], *list(value)[1:]) if isinstance(value, tuple) else (),
            dict: {"another": "one"},
            type(None): 3,
        }[type(value)]
        seen.add(replace(study, **{field.name: other}).hash)
    assert len(seen) == len(fields(study)) + 1


def test_opening_gives_what_was_created(fresh):
    again = open_study(fresh.path)
    assert again.study == fresh.study
    assert again.study.hash == fresh.study.hash
    assert again.pictures == fresh.pictures
    assert [len(again.part(i)) for i in range(again.study.parts)] == [4, 4, 2]
    assert [p.image_id for p in again.pictures] == sorted(p.image_id for p in again.pictures)


def test_a_default_that_changed_is_in_the_settings(fresh):
    settings = fresh.study.settings
    assert settings["methods"]["hybrid"]["threshold"] == "0.2"
    assert settings["methods"]["hybrid(threshold=0.4)"]["threshold"] == "0.4"
    assert set(settings["metrics"]["sparseness"]) == set(METRICS["sparseness"].settings)


def test_a_manifest_that_was_changed_is_refused(fresh):
    manifest = fresh.path / "study.json"
    about = json.loads(manifest.read_text())
    about["study"]["seeds"] = [5]
    manifest.write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"study\.json was changed: its hash is"):
        open_study(fresh.path)
    manifest.write_text("{")
    with pytest.raises(ValueError, match=r"study\.json cannot be read"):
        open_study(fresh.path)


def _without(*keys):
    def change(about):
        inner = about
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        return json.dumps(about)

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(_without(key) for key in ("study", "hash", "place", "images")),
        _without("study", "seeds"),
        lambda about: json.dumps(about | {"place": [1]}),
        lambda about: "5",
        lambda about: "[]",
        lambda about: "null",
        lambda about: "[" * 100_000,
        lambda about: '{"study": ' * 100_000 + "1" + "}" * 100_000,
        lambda about: "\x00",
    ],
)
def test_a_manifest_of_another_form_is_one_line(fresh, change):
    manifest = fresh.path / "study.json"
    manifest.write_text(change(json.loads(manifest.read_text())))
    with pytest.raises(ValueError, match=r"study\.json cannot be read"):
        open_study(fresh.path)


def test_code_that_only_the_folder_names_is_not_run(fresh, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("open('ran', 'w')\ndef go():\n    raise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    manifest = fresh.path / "study.json"
    about = json.loads(manifest.read_text())
    about["place"]["model"] = "evil:go"
    manifest.write_text(json.dumps(about))
    message = (
        "model must be named by whoever runs the study .* If you trust it, say --model evil:go"
    )
    with pytest.raises(ValueError, match=message):
        run_study(open_study(fresh.path))
    with pytest.raises(ValueError, match=message):
        open_study(fresh.path).load()
    assert not (tmp_path / "ran").exists()
    run_study(open_study(fresh.path, model="scenes_vgg_seed0"))


def test_a_model_of_ones_own_is_named_each_time(tmp_path, monkeypatch):
    module = "import xaiutils\ndef net():\n    return xaiutils.load_model('scenes_vgg_seed0')\n"
    (tmp_path / "mynet.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    opened = create_study(tmp_path / "study", **SMALL, model="mynet:net")
    assert run_study(opened).fresh == (0,)
    again = open_study(opened.path)
    with pytest.raises(ValueError, match="say --model mynet:net"):
        again.load()
    open_study(opened.path, model="mynet:net").load()


def test_a_list_of_pictures_that_was_changed_is_refused(fresh, undisturbed):
    path = fresh.path / "pictures.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"pictures\.parquet cannot be read"):
        open_study(fresh.path)
    other = create_study(fresh.path.parent / "other", **SMALL)
    path.write_bytes((other.path / "pictures.parquet").read_bytes())
    with pytest.raises(ValueError, match="its hash is not that of the manifest"):
        open_study(fresh.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "0" * 16}, "weights 0000000000000000 became"),
        ({"model": "another"}, "model another became scenes_vgg_seed0"),
        ({"versions": {"torch": "1.0"}}, "versions torch: 1.0 became"),
        ({"settings": {"methods": {}, "metrics": {}}}, "settings methods: hybrid: "),
    ],
)
def test_other_weights_versions_or_defaults_are_not_mixed(fresh, change, message):
    with pytest.raises(ValueError, match=message):
        replace(fresh.study, **change).require(fresh.load())


@pytest.mark.parametrize("key", OTHERS)
def test_equal_weights_in_another_network_are_another_study(tmp_path, monkeypatch, key):
    make_pictures(tmp_path / "pictures", 2)
    monkeypatch.setenv("STUDY_PICTURES", str(tmp_path / "pictures"))
    opened = create_study(tmp_path / "study", **(SMALL | {"workload": NAME}))
    opened.study.require(own_workload.small())
    other = OTHERS[key]()
    assert fingerprint.weights(other.classifier) == opened.study.weights
    with pytest.raises(ValueError, match=f"here differ: network {key}: "):
        opened.study.require(other)
    monkeypatch.setattr(own_workload, "small", OTHERS[key])
    again = create_study(tmp_path / "again", **(SMALL | {"workload": NAME}))
    assert again.study.hash != opened.study.hash


def test_a_library_that_changed_stops_the_run_before_a_part_is_written(fresh, monkeypatch):
    monkeypatch.setattr(fingerprint, "version", lambda name: "99.0")
    with pytest.raises(ValueError, match=r"must be run with what it began with, here differ: ver"):
        run_study(fresh)
    assert not list((fresh.path / "parts").iterdir())


def test_other_options_do_not_resume_it(fresh):
    check_asked(fresh, {"images": 10, "seeds": [0, 1], "part": 4})
    with pytest.raises(ValueError, match="seeds must be as the study began, 0 1, got 0; take"):
        check_asked(fresh, {"seeds": [0]})
    with pytest.raises(ValueError, match="images must be as the study began, 10, got 11"):
        check_asked(fresh, {"images": 11})
