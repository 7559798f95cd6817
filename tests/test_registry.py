import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.activations import ACTIVATIONS
from fer_attention.attention import ATTENTIONS
from fer_attention.models import BACKBONES
from fer_attention.registry import Registry, UnknownNameError, check_choice, unknown_name


@pytest.fixture
def fruits():
    registry = Registry("fruit")
    for name in ("pear", "apple", "banana"):
        registry.register(name)(name.upper())
    return registry


def test_register_returns_the_entry_unchanged_and_lookup_finds_it():
    registry = Registry("function")

    @registry.register("double")
    def double(x):
        return 2 * x

    assert double(4) == 8
    assert registry["double"] is double
    assert registry.get("double") is double


def test_entries_are_sorted_whatever_the_order_of_registration(fruits):
    assert list(fruits) == ["apple", "banana", "pear"]
    assert list(fruits.items()) == [("apple", "APPLE"), ("banana", "BANANA"), ("pear", "PEAR")]
    assert len(fruits) == 3
    assert repr(fruits) == "Registry('fruit': apple, banana, pear)"


def test_a_duplicate_is_refused_and_the_first_entry_stays(fruits):
    with pytest.raises(ValueError, match=r"fruit 'pear' is already registered, as 'PEAR'"):
        fruits.register("pear")("another")
    assert fruits["pear"] == "PEAR"
    assert len(fruits) == 3


@pytest.mark.parametrize("name", ["", "Pear", "two words", " pear", "pear ", "a.b", "a/b", "ÄPFEL"])
def test_a_bad_name_is_refused_before_anything_is_registered(fruits, name):
    with pytest.raises(ValueError, match="fruit name is lower case") as caught:
        fruits.register(name)
    assert repr(name) in str(caught.value)
    assert len(fruits) == 3


def test_an_unknown_name_is_both_a_value_error_and_a_key_error(fruits):
    for kind in (ValueError, KeyError, UnknownNameError):
        with pytest.raises(kind, match="Unknown fruit 'kiwi'"):
            fruits["kiwi"]
    assert "kiwi" not in fruits
    assert fruits.get("kiwi") is None


def test_the_message_has_the_nearest_name_and_all_known_ones(fruits):
    with pytest.raises(UnknownNameError) as caught:
        fruits["aple"]
    expected = "Unknown fruit 'aple'. Did you mean 'apple'? Known: apple, banana, pear."
    assert str(caught.value) == expected
    assert str(pickle.loads(pickle.dumps(caught.value))) == expected  # noqa: S301  (our own error)


def test_the_nearest_name_is_found_whatever_the_case(fruits):
    with pytest.raises(UnknownNameError, match="Did you mean 'banana'"):
        fruits["BANANA"]


def test_no_name_is_suggested_if_none_is_near(fruits):
    with pytest.raises(UnknownNameError) as caught:
        fruits["xyz"]
    assert "Did you mean" not in str(caught.value)
    with pytest.raises(UnknownNameError, match="Known: none"):
        Registry("fruit")["pear"]


@pytest.mark.parametrize("key", [None, 7, ("pear",), ["pear"]])
def test_a_key_of_another_type_is_an_unknown_name(fruits, key):
    with pytest.raises(UnknownNameError, match="Unknown fruit"):
        fruits[key]


def test_a_long_list_is_counted_instead_of_printed():
    known = [f"net{i}" for i in range(200)]
    message = str(unknown_name("model", "net1999", known))
    assert message.startswith("Unknown model 'net1999'. Did you mean 'net1")
    assert message.endswith("200 are known.")
    assert len(message) < 200


@given(st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=12))
def test_every_good_name_can_be_registered_and_looked_up(name):
    registry = Registry("thing")
    if name == name.lower():
        registry.register(name)(1)
        assert registry[name] == 1
    else:
        with pytest.raises(ValueError, match="lower case"):
            registry.register(name)


@pytest.mark.parametrize("registry", [ATTENTIONS, ACTIVATIONS, BACKBONES], ids=lambda r: r.kind)
def test_registries_of_the_library_refuse_to_replace_their_entries(registry):
    for name in registry:
        entry = registry[name]
        with pytest.raises(ValueError, match=f"'{name}' is already registered"):
            registry.register(name)(object())
        assert registry[name] is entry


def test_a_choice_is_one_of_the_allowed_names():
    check_choice("colour", "red", ["red", ""])
    for value in ("rde", None, ["red"]):
        with pytest.raises(UnknownNameError, match="Unknown colour .* Known: '', red."):
            check_choice("colour", value, ["red", ""])
