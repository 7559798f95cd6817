import pytest
from pydantic import BaseModel

from fer_attention.messages import read_yaml, validate


class Fruit(BaseModel, extra="forbid"):
    name: str
    weight: float = 1.0


class Basket(BaseModel, extra="forbid"):
    fruits: list[Fruit] = []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold named fields; got nothing"),
        ("- 1", "must hold named fields; got a list"),
        ("plain", "must hold named fields; got a single value"),
        ("a: [1", "line 1, column 6: .* but got the end of the file"),
        ("a: 1\na: 2", "line 2, column 1: the field 'a' is given twice"),
        ("a: \x00", "is not valid YAML"),
    ],
)
def test_an_unusable_file_is_explained(tmp_path, text, message):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=f"a.yaml .*{message}"):
        read_yaml(tmp_path / "a.yaml")


def test_a_folder_and_a_missing_file_are_explained(tmp_path):
    with pytest.raises(ValueError, match="cannot be read: it is a folder, and a file is needed"):
        read_yaml(tmp_path)
    with pytest.raises(ValueError, match="cannot be read: no such file or directory"):
        read_yaml(tmp_path / "absent.yaml")


def test_every_invalid_field_has_a_line():
    fields = {"fruits": [{"name": "pear", "wieght": 1}, {"weight": "much"}]}
    with pytest.raises(ValueError, match="a.yaml cannot be used") as caught:
        validate(Basket, fields, where="a.yaml")
    lines = str(caught.value).splitlines()[1:]
    assert (
        lines[0] == "  fruits.0.wieght: Unknown field 'wieght'. Did you mean 'weight'? Known: name, weight."
    )
    assert lines[1] == "  fruits.1.name: is missing."
    assert lines[2].startswith("  fruits.1.weight: Input should be a valid number")
    assert len(lines) == 3


def test_valid_fields_make_a_record():
    assert validate(Basket, {"fruits": [{"name": "pear"}]}, where="a.yaml").fruits[0].weight == 1.0
