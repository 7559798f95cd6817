"""Files of studies: what they may contain, and how errors in them are reported."""

import pytest
import yaml

from fer_attention.models import ModelSpec
from fer_attention.models.factory import from_spec
from fer_attention.registry import UnknownNameError
from fer_attention.study import StudyError, expand, load_study, run_study, runner, study_names
from fer_attention.study.store import Store
from tests.support.tiny_studies import tiny_file, tiny_study


@pytest.mark.parametrize("name", study_names())
def test_every_bundled_study_loads_and_all_its_models_build(name):
    study = load_study(name)
    assert study.questions()
    runs = expand(study)
    specs = {run.config.spec().to_json() for run in runs}
    factors = study.factors
    sizes = (factors.backbone, factors.attention, factors.activation, factors.fraction, factors.setting)
    conditions = len(study.data)
    for levels in sizes:
        conditions *= len(levels)
    assert len({tuple(run.factors.values()) for run in runs}) == conditions
    for spec in specs:
        model = from_spec(ModelSpec.from_json(spec), device="meta")
        assert sum(parameter.numel() for parameter in model.parameters()) > 0


WRONG = [
    ({"titel": "x"}, "titel: Unknown field 'titel'. Did you mean 'title'?"),
    ({"title": ""}, "title: "),
    ({"factors__atention": ["se"]}, "factors.atention: .* Did you mean 'attention'?"),
    ({"factors__backbone": "resnetv2_19"}, "factors: Unknown backbone .* Did you mean 'resnetv2_18'?"),
    ({"factors__attention": ["none", "cbma"]}, "Unknown attention 'cbma'. Did you mean 'cbam'?"),
    ({"factors__activation": "elo"}, "Unknown activation 'elo'. Did you mean 'elu'?"),
    ({"factors__attention": ["se", "se"]}, "factors.attention: se appears twice"),
    ({"factors__attention": [["se"]]}, r"factors.attention.0: .*a level is a name, or .*got \['se'\]"),
    (
        {"factors__attention": {"name": "se", "option": {}}},
        "factors.attention.0.option: .* mean 'options'?",
    ),
    (
        {"factors__attention": {"name": "se", "options": {"begin": "open"}}},
        "factors: .*no option 'begin'. Its options: .*start",
    ),
    (
        {"factors__attention": ["eca", {"name": "se", "label": "eca"}]},
        r"factors.attention: eca appears twice in \['eca', 'eca'\]",
    ),
    ({"factors__attention": []}, "factors.attention: .*at least 1 item"),
    ({"factors__fraction": 0}, r"factors.fraction.0: Input should be greater than 0; got 0\.$"),
    ({"factors__fraction": [0.1, 1.5]}, r"factors.fraction.1: .* less than or equal to 1; got 1.5\.$"),
    ({"factors__setting": {"a": None}}, "factors.setting.a: .*dictionary; got None"),
    ({"comparisons": [{"factor": "attention", "baseline": "nine"}]}, "comparisons: .* mean 'none'"),
    ({"comparisons": [{"factor": "atention", "baseline": "none"}]}, "comparisons.0.factor: .*'attention'"),
    ({"comparisons": [{"factor": "activation", "baseline": "elu"}]}, "activation has only one level, elu"),
    (
        {"comparisons": [{"factor": "attention", "baseline": "none", "levels": ["none"]}]},
        "attention none cannot be compared with itself",
    ),
    ({"comparisons": [{"factor": "attention", "baseline": "none", "levels": []}]}, "comparisons.0.levels: "),
    ({"interactions": [{"first": "attention", "second": "attention"}]}, "cannot interact with itself"),
    ({"interactions": [{"first": "attention", "second": "activation"}]}, "activation has only one level"),
    ({"replications__seeds": [1, 2, 1]}, r"replications.seeds: 1 appears twice in \[1, 2, 1\]\.$"),
    ({"replications__seeds": 0}, r"replications.seeds: .*from 1 to 10000, got 0"),
    ({"replications__seeds": [-1]}, r"replications.seeds.0: .*got -1\.$"),
    ({"replications__seeds": True}, "replications.seeds: .*got True"),
    ({"replications__seeds": [[1]]}, "replications.seeds.0: "),
    ({"replications__vary": ["ordre"]}, "replications.vary.0: .*'order'.*got 'ordre'"),
    ({"replications__vary": []}, "the runs of 2 seeds would be identical"),
    ({"tta": "flp"}, "tta: .* Did you mean 'flip'?"),
    ({"alpha": 0}, r"alpha: .*greater than 0; got 0\.$"),
    ({"margin": 2}, "margin: .*got 2"),
    ({"budget": {"hour": 1}}, "budget.hour: .* Did you mean 'hours'?"),
    ({"data__bars__protocol": "offical"}, "data.bars.protocol: .* Did you mean 'official'?"),
    ({"data__bars__fromat": "csv"}, "data.bars.fromat: .* Did you mean 'data_format'?"),
    ({"data__bars__folds": [0, 0]}, "data.bars.folds: 0 appears twice"),
    ({"data__bars__folds": []}, "data.bars.folds: "),
    ({"data": {}}, "data: "),
    ({"changes": 5}, "changes: .*dictionary; got 5"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG, ids=lambda value: str(value)[:60])
def test_invalid_files_are_rejected_with_field_value_and_suggestion(tmp_path, fields, message):
    with pytest.raises(StudyError, match=rf"(?s)tiny.yaml cannot be used:\n.*{message}") as raised:
        load_study(tiny_file(tmp_path, **fields))
    assert len(str(raised.value).splitlines()) == 2  # one cause, one line


def test_all_errors_of_a_file_are_reported_together(tmp_path):
    with pytest.raises(StudyError) as raised:
        load_study(tiny_file(tmp_path, alpha=3, margin=0, titel="x"))
    assert [line.split(":")[0].strip() for line in str(raised.value).splitlines()[1:]] == [
        "alpha", "margin", "titel"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "study.yaml must hold named fields; got a list"),
        ("", "study.yaml must hold named fields; got nothing"),
        ("title: [", "study.yaml is not valid YAML: line 1, column 9"),
        (
            "title: A\ntitle: B",
            "study.yaml is not valid YAML: line 2, column 1: the field 'title' is given twice",
        ),
    ],
)
def test_files_without_fields_and_invalid_yaml_are_rejected(tmp_path, text, message):
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(StudyError, match=message):
        load_study(tmp_path / "study.yaml")


def test_missing_and_unreadable_files_and_unknown_names_are_reported(tmp_path):
    with pytest.raises(StudyError, match=r"no study file .*absent.yaml.*cbam-vs-eca"):
        load_study(tmp_path / "absent.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(StudyError, match=r"bytes.yaml is not valid YAML"):
        load_study(tmp_path / "bytes.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(StudyError, match=r"folder.yaml cannot be read: it is a folder"):
        load_study(tmp_path / "folder.yaml")
    with pytest.raises(UnknownNameError, match="Did you mean 'smoke'"):
        load_study("smok")


def test_omitted_fields_have_defaults_and_single_levels_need_no_list(tmp_path):
    study = load_study(tiny_file(tmp_path))
    assert study.factors.activation == ("elu",)
    assert study.replications.seeds == (0, 1)
    assert tiny_study(replications__seeds=[7]).replications.seeds == (7,)
    assert [(one.factor, one.baseline) for one in study.questions()] == [("attention", "none")]


CANNOT_TRAIN = [
    ({"changes__epochs": 0}, "epochs: .*got 0"),
    ({"changes__epohcs": 3}, "epohcs: .* Did you mean 'epochs'?"),
    ({"changes__lr": -1}, "lr: .*got -1"),
    ({"changes__augment": {"flp": 1}}, "augment.flp: .* Did you mean 'flip'?"),
    ({"changes__optimizer": "sdg"}, "Did you mean 'sgd'?"),
    ({"changes__structure__widht": 1}, "field of structure 'widht'. Did you mean 'width'?"),
    ({"changes__structure__attention": "se"}, "field of structure 'attention'"),
    ({"changes__structure__width": 0}, "width is a factor above 0"),
    ({"changes__structure": 5}, "structure: .*got 5"),
    ({"changes__structure__attention_options": {"reductoin": 8}}, "reductoin"),
    ({"changes__seed": 3}, "seed: set by factors and replications"),
    ({"data__bars__changes": {"batch_siz": 3}}, "batch_siz: .* Did you mean 'batch_size'?"),
    ({"factors__setting": {"a": {}, "b": {"epohcs": 1}}}, "(?s)setting b.*epohcs: "),
    ({"recipe": "quik"}, "Unknown recipe 'quik'. Did you mean 'quick'?"),
    ({"factors__setting": {"a": {}, "b": {"epochs": 1}}}, "settings a and b give the same run"),
    ({"factors__attention": "cbam"}, "resnetv2_18_cbam_elu cannot be built: reduction=16 leaves no hidden"),
]


CANNOT_BE_READ = [
    ({"data__bars": {"protocol": "official"}}, "The data set bars needs a path: use --data bars=PATH"),
    ({"data__bars": {"path": "/nowhere/at/all"}}, "bars cannot be read: .*nowhere.* does not exist"),
    ({"data__bars__path": "/nowhere"}, "bars is synthetic and takes no path"),
    ({"data__bars__options": {"imges": 70}}, "Did you mean 'images'?"),
    ({"data__bars__options": {"images": 3}}, "images >= 35.*got 3"),
    ({"data__bars__protocol": "loso"}, "bars: loso needs subjects"),
    ({"data__bars__protocol_options": {"fold": 3}}, "bars: .*option of the protocol 'official'"),
    ({"data__bars__folds": [0, 3]}, "bars: official has fold 0 only, got fold 3"),
    (
        {"data__bars__protocol": "stratified_kfold", "data__bars__protocol_options": {"folds": 40}},
        "bars: stratified_kfold: folds from 3 to 10",
    ),
]


@pytest.mark.parametrize(
    ("fields", "message"), CANNOT_TRAIN + CANNOT_BE_READ, ids=lambda value: str(value)[:60]
)
def test_impossible_studies_are_rejected_before_anything_is_written(tmp_path, fields, message, monkeypatch):
    monkeypatch.setattr(runner, "LocalEngine", None)  # nothing may start
    with pytest.raises(StudyError, match=message):
        run_study(tiny_study(**fields), tmp_path / "study", device="cpu")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be 1 or more, got 0"),
        ({"device": "gpu"}, "device is auto, cpu, cuda"),
        ({"paths": {"fer2013": "x"}}, "no data set 'fer2013'; it has bars"),
    ],
)
def test_invalid_arguments_create_no_folder(tmp_path, options, message, monkeypatch):
    monkeypatch.setattr(runner, "LocalEngine", None)
    with pytest.raises(ValueError, match=message):
        run_study(tiny_study(), tmp_path / "study", **{"device": "cpu", **options})
    assert not (tmp_path / "study").exists()


def test_a_stored_study_equals_the_study_of_its_file(tmp_path):
    for name in study_names():
        study = load_study(name)
        Store(tmp_path / name).begin(study, expand(study))
        manifest = Store(tmp_path / name).manifest()
        assert manifest.study == study
        assert [run.id for run in manifest.runs] == [run.id for run in expand(manifest.study)]
    assert yaml.safe_load((tmp_path / "dry" / "study.json").read_text())["runs"][0]["seed"] == 0
