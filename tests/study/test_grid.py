"""Runs of a study: number, order, ids and seeds."""

import hashlib
import json
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.study import StudyConfig, StudyError, expand, load_study
from fer_attention.study.datasets import DataSets, synthetic_faces
from fer_attention.training.setup import create_initial_model
from tests.support.tiny_runs import untrained
from tests.support.tiny_studies import TINY, merged, runs_of, tiny_study

PEOPLE = {"data__bars__options": {"images": 70, "size": 16, "subjects": 5}}


def ids(study):
    return [run.id for run in runs_of(study)]


LEVELS = {
    "backbone": ["resnet18", "resnetv2_18"],
    "attention": ["none", "se", "eca"],
    "activation": ["relu", "elu"],
    "fraction": [0.5, 1.0],
}


@given(
    factors=st.fixed_dictionaries(
        {name: st.lists(st.sampled_from(levels), min_size=1, unique=True) for name, levels in LEVELS.items()}
    ),
    seeds=st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
    settings=st.sampled_from([{"a": {}}, {"a": {}, "b": {"lr": 0.01}}]),
    folds=st.sampled_from([None, [0], [2, 0]]),
)
def test_the_runs_are_the_product_of_levels_seeds_and_folds(factors, seeds, settings, folds):
    study = tiny_study(
        **PEOPLE,
        factors={**factors, "setting": settings},
        replications={"seeds": seeds},
        data__bars__protocol="subject_kfold",
        data__bars__protocol_options={"folds": 5},
        data__bars__folds=folds,
    )
    runs = runs_of(study)
    count = len(seeds) * len(folds or range(5)) * len(settings)
    for levels in factors.values():
        count *= len(levels)
    assert len(runs) == len({run.id for run in runs}) == count
    replications = [(run.seed, run.fold) for run in runs]
    conditions = count // len(set(replications))
    assert replications == [
        (seed, fold) for seed in seeds for fold in folds or range(5) for _ in range(conditions)
    ]  # one replication after the other: an interrupted study is balanced


def test_ids_do_not_depend_on_the_order_of_keys():
    def reversed_keys(value):
        if isinstance(value, dict):
            return {name: reversed_keys(value[name]) for name in reversed(value)}
        return value

    study = tiny_study(factors__setting={"a": {}, "b": {"augment": {"flip": 0, "rotate": 3}}})
    other = StudyConfig.model_validate(reversed_keys(json.loads(study.model_dump_json(exclude_unset=True))))
    assert set(ids(other)) == set(ids(study))


AFFECT_RESULTS = [
    {"changes__epochs": 2},
    {"changes__lr": 0.05},
    {"changes__augment": {"flip": 0.25}},
    {"changes__structure__width": 0.25},
    {"changes__structure__drop_rate": 0.3},
    {"changes__select_by": "loss"},
    {"data__bars__changes": {"batch_size": 4}},
    {"data__bars__options__noise": 5},
    {"data__bars__protocol": "holdout"},
    {"data__bars__protocol": "holdout", "data__bars__protocol_options": {"share": 0.3}},
    {"replications__seeds": [2, 3]},
    {"replications__vary": ["order"]},
    {"replications__vary": ["initialisation", "order", "augmentation", "subset"]},
    {"factors__fraction": 0.5},
    {"factors__activation": "relu"},
    {"factors__backbone": "resnet18"},
    {"factors__setting": {"default": {"lr": 0.01}}},
    {"recipe": "strong"},
    {"tta": "flip"},
    {"statistics_images": 4},
]


@pytest.mark.parametrize("fields", AFFECT_RESULTS, ids=str)
def test_changes_that_affect_results_change_the_ids(fields):
    before, after = runs_of(tiny_study()), runs_of(tiny_study(**fields))
    if "replications__vary" in fields:  # in replication 0 all sources have seed 0
        before, after = ([run for run in runs if run.seed] for runs in (before, after))
    assert not {run.id for run in before} & {run.id for run in after}


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "Another title"},
        {"question": "Another?"},
        {"changes__trackers": ["tensorboard"]},
        {"changes__workers": 0},
        {"changes__checkpoint_minutes": 1},
        {"keep_weights": True},
        {"alpha": 0.01},
        {"margin": 0.02},
        {"budget": {"hours": 1}},
        {"comparisons": [{"factor": "attention", "baseline": "eca"}]},
        {"factors__setting": {"renamed": {}}},
    ],
    ids=str,
)
def test_changes_that_do_not_affect_results_keep_the_ids(fields):
    assert ids(tiny_study(**fields)) == ids(tiny_study())


@pytest.mark.parametrize(
    "fields",
    [
        {"replications__seeds": 5},
        {"factors__attention": ["se", "none", "eca"]},
        {"factors__activation": ["relu", "elu"]},
        {"factors__fraction": [0.5, 1.0]},
        {"factors__setting": {"default": {}, "slow": {"lr": 0.01}}},
    ],
    ids=str,
)
def test_extending_a_study_keeps_the_ids_of_its_runs(fields):
    more = set(ids(tiny_study(**fields)))
    assert set(ids(tiny_study())) < more


def test_paths_and_further_data_sets_keep_the_ids(tmp_path):
    one = merged(TINY, {"data.bars": {"path": "here", "protocol": "official"}})
    two = merged(one, {"data.bars.path": "there", "data.more": {"data_format": "synthetic"}})
    first = {run.id for run in expand(StudyConfig.model_validate(one))}
    assert first < {run.id for run in expand(StudyConfig.model_validate(two))}


def test_selected_folds_are_a_subset_of_all_folds():
    options = {**PEOPLE, "data__bars__protocol": "loso"}
    assert set(ids(tiny_study(**options, data__bars__folds=[1, 4]))) < set(ids(tiny_study(**options)))


CHANCES = ("initialisation", "order", "augmentation")


@pytest.mark.parametrize("varied", [(name,) for name in (*CHANCES, "subset", "folds")])
def test_replications_vary_only_the_named_sources(varied):
    first, second = runs_of(tiny_study(factors__attention="none", replications__vary=list(varied)))
    for source in CHANCES:
        differs = first.config.seed_of(source) != second.config.seed_of(source)
        assert differs == (source in varied)
    assert (first.seed_of("subset") != second.seed_of("subset")) == ("subset" in varied)
    assert (first.seed_of("folds") != second.seed_of("folds")) == ("folds" in varied)


@pytest.mark.parametrize(("varied", "equal"), [("order", True), ("initialisation", False)])
def test_initial_weights_differ_only_if_the_initialisation_varies(varied, equal):
    study = tiny_study(factors__attention="none", replications__vary=[varied])
    data = synthetic_faces(images=70)
    starts = [create_initial_model(run.config, data.split("train")).state_dict() for run in runs_of(study)]
    assert torch.equal(starts[0]["stem.conv.weight"], starts[1]["stem.conv.weight"]) == equal


def test_training_subsets_differ_only_if_the_subset_varies():
    for vary, same in ((["order", "subset"], False), (["order"], True)):
        study = tiny_study(factors__attention="none", factors__fraction=0.5, replications__vary=vary)
        data = DataSets(study)["bars"]
        one, other = (run.crops(data, run.protocol(data)) for run in runs_of(study))
        assert (set(one.split("train").names) == set(other.split("train").names)) == same
        assert set(one.split("test").names) == set(data.split("test").names)


def test_a_fraction_reduces_only_the_training_images():
    study = tiny_study(factors__attention="none", factors__fraction=[0.5, 1.0], replications__seeds=[3])
    data = DataSets(study)["bars"]
    half, whole = (run.crops(data, run.protocol(data)) for run in runs_of(study))
    assert (len(half.split("train")), len(whole.split("train"))) == (21, 42)
    assert set(half.split("train").names) < set(whole.split("train").names)
    for name in ("validation", "test"):
        assert list(half.split(name).names) == list(whole.split(name).names)


def test_random_divisions_differ_only_if_folds_vary():
    for vary, same in ((["order", "folds"], False), (["order"], True)):
        study = tiny_study(factors__attention="none", data__bars__protocol="holdout", replications__vary=vary)
        data = DataSets(study)["bars"]
        one, other = (run.crops(data, run.protocol(data)).split("validation") for run in runs_of(study))
        assert (set(one.names) == set(other.names)) == same


def test_the_structure_of_a_recipe_is_ignored(tmp_path):
    """The structure of a recipe is for its own model and must not reach the condition with this model."""
    recipe = tmp_path / "own.yaml"
    recipe.write_text("model: resnetv2_18_eca_elu\nstructure: {width: 0.5, drop_rate: 0.4}\nepochs: 3\n")
    study = tiny_study(recipe=str(recipe), changes={"structure": {"stem": "half"}})
    assert {json.dumps(run.config.structure) for run in runs_of(study)} == {'{"stem": "half"}'}
    assert {run.config.epochs for run in runs_of(study)} == {3}


def test_settings_override_data_which_overrides_study_and_recipe():
    study = tiny_study(
        changes={"epochs": 5, "batch_size": 9, "lr": 0.3, "augment": {"flip": 0.1, "rotate": 7}},
        data__bars__changes={"batch_size": 4, "lr": 0.2},
        factors__setting={"plain": {}, "own": {"lr": 0.1, "augment": {"flip": 0.0}}},
    )
    found = {str(run.factors["setting"]): run.config for run in runs_of(study)}
    assert [found[name].lr for name in ("plain", "own")] == [0.2, 0.1]
    assert {config.batch_size for config in found.values()} == {4}
    assert {config.epochs for config in found.values()} == {5}
    assert (found["own"].augment.flip, found["own"].augment.rotate) == (0.0, 7)


def test_without_data_the_folds_are_those_named_in_the_file():
    study = tiny_study(**PEOPLE, data__bars__protocol="loso")
    assert len(expand(study)) == 4
    folds = {"data__bars__protocol": "stratified_kfold", "data__bars__folds": [0, 1, 2]}
    assert len(expand(tiny_study(**folds))) == 12


def test_titles_of_runs_name_the_levels_that_differ():
    study = tiny_study(factors__fraction=0.2, factors__setting={"slow": {"lr": 0.01}})
    assert runs_of(study)[-1].title == "resnetv2_18_eca_elu, bars, 20 % of train, slow, seed 1, fold 0"


OPEN = {"name": "se", "options": {"start": "open"}}


def test_options_of_attention_reach_the_model_and_labels_the_tables():
    study = tiny_study(
        factors__attention=["none", "se", OPEN, {**OPEN, "options": {"reduction": 4}, "label": "se-r4"}]
    )
    assert study.levels("attention") == ("none", "se", "se(start=open)", "se-r4")
    found = {run.factors["attention"]: run.config for run in runs_of(study)}
    assert [found[name].model for name in ("se", "se(start=open)")] == ["resnetv2_18_se_elu"] * 2
    assert found["se(start=open)"].structure["attention_options"] == {"start": "open"}
    assert found["se-r4"].structure["attention_options"] == {"reduction": 4}
    assert "attention_options" not in found["se"].structure
    titles = [run.title for run in runs_of(study) if run.seed == 0]
    assert "resnetv2_18_se_elu, bars, se(start=open), seed 0, fold 0" in titles


def test_a_level_with_a_label_alone_or_another_label_is_the_same_run():
    plain, labelled = tiny_study(), tiny_study(factors__attention=["none", {"name": "eca", "label": "mine"}])
    assert set(ids(labelled)) == set(ids(plain))
    one, other = (tiny_study(factors__attention=[{**OPEN, "label": label}]) for label in ("a", "b"))
    assert ids(one) == ids(other)
    setting = {"open": {"structure": {"attention_options": {"start": "open"}}}}
    assert set(ids(one)) == set(ids(tiny_study(factors__attention="se", factors__setting=setting)))


def test_two_levels_that_are_the_same_run_are_refused():
    study = tiny_study(factors__attention=["se", {"name": "se", "label": "again"}])
    with pytest.raises(
        StudyError, match="The attentions se and again give the same run of resnetv2_18_se_elu"
    ):
        expand(study)


def test_a_study_with_options_is_read_back_from_its_json():
    study = tiny_study(factors__attention=["none", OPEN, {**OPEN, "options": {}, "label": "x"}])
    assert StudyConfig.model_validate_json(study.model_dump_json()) == study
    assert study.model_dump()["factors"]["attention"][0] == "none"


IDS = {
    "smoke": "9dc879930f",
    "two-by-two": "d28bc2c0fe",
    "data-size": "f8906095bf",
    "cost": "80d2eec4ef",
    "open_gates": "2810a8e02f",
}
"""First digits of the SHA-256 digest of all ids: a study that someone began must stay resumable."""


@pytest.mark.parametrize("name", IDS)
def test_the_ids_of_the_ready_studies_do_not_change(name):
    together = " ".join(run.id for run in expand(load_study(name)))
    assert hashlib.sha256(together.encode()).hexdigest().startswith(IDS[name])


def test_ids_of_the_bundled_studies_stay_valid():
    run = expand(load_study("open_gates"))[0]
    assert (run.title, run.id) == (
        "resnetv2_18_elu, fer2013, 20 % of train, seed 0, fold 0",
        "b561be979eb023ef",
    )


@pytest.mark.parametrize("role", ["weights", "backbone_weights", "teachers"])
def test_weights_files_count_by_content_and_not_by_location(tmp_path, role):
    def ids_with(path):
        changes = {"epochs": 1, role: [str(path)] if role == "teachers" else str(path)}
        return [run.id for run in expand(tiny_study(changes=changes, factors__attention="eca"))]

    first, second = (untrained(tmp_path / f"{seed}.safetensors", seed=seed) for seed in (0, 1))
    moved = shutil.copy(first, tmp_path / "moved.safetensors")
    before = ids_with(first)
    assert ids_with(moved) == before
    assert set(ids_with(second)).isdisjoint(before)
    shutil.copy(second, first)
    assert ids_with(first) == ids_with(second)
