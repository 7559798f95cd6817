import pytest
from pydantic import BaseModel

from fer_attention.messages import MAX_ERRORS, validate


class Fruit(BaseModel, extra="forbid"):
    name: str
    weight: float = 1.0


class Basket(BaseModel, extra="forbid"):
    fruits: list[Fruit] = []


def test_every_invalid_field_has_a_line():
    fields = {"fruits": [{"name": "pear", "wiehgt": 1}, {"weight": "much"}]}
    with pytest.raises(ValueError, match="a.yaml cannot be used") as caught:
        validate(Basket, fields, where="a.yaml")
    lines = str(caught.value).splitlines()[1:]
    assert (
        lines[0] == "  fruits.0.wiehgt: Unknown field 'wiehgt'. Did you mean 'weight'? Known: name, weight."
    )
    assert lines[1] == "  fruits.1.name: is missing."
    assert lines[2].startswith("  fruits.1.weight: Input should be a valid number")
    assert len(lines) == 3


def test_valid_fields_make_a_record():
    assert validate(Basket, {"fruits": [{"name": "pear"}]}, where="a.yaml").fruits[0].weight == 1.0


def test_only_the_first_errors_are_listed():
    with pytest.raises(ValueError, match="  and 3 more$"):
        validate(Basket, {f"field{number}": 1 for number in range(MAX_ERRORS + 3)}, where="a.yaml")
