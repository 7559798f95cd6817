"""Importing and help are light, and timm knows our names all the same."""

import ast
import inspect
import json
import os
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import fer_attention
from fer_attention.attention import ATTENTIONS, SEBlock
from fer_attention.cli import choices
from fer_attention.cli.choices import BUILT_IN
from fer_attention.cli.lazy import COMMANDS, LazyGroup
from fer_attention.faces import decoding
from fer_attention.models import bundled
from tests.support.paths import ROOT

HEAVY = {"torch", "timm", "torchvision", "numpy", "PIL"}
CLI = "from fer_attention.cli import app; app(prog_name='fer-attention')"
COMPLETE = {"_FER_ATTENTION_COMPLETE": "complete_bash", "COMP_WORDS": "fer-attention ex", "COMP_CWORD": "1"}
NAMED_SHELL = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}

MEASURE = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_maxrss / 1024, done.stdout]))
"""


def cost(*arguments, **variables):
    """(MB of memory, what was printed) of a fresh Python.

    Started from a small process: what a fork copies from a large one counts as memory of its child.
    """
    command = [sys.executable, "-c", MEASURE, sys.executable, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)


def leaves():
    """Every command that does something, with the words that call it."""
    for name in COMMANDS:
        command = LazyGroup.load(name)
        if hasattr(command, "commands"):
            yield from ((f"{name} {part}", leaf) for part, leaf in command.commands.items())
        else:
            yield name, command


LEAVES = dict(leaves())


linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units")


@linux
@pytest.mark.parametrize(
    ("arguments", "variables", "shown"),
    [
        (["-c", CLI, "--help"], {}, "Recognise the expressions"),
        (["-c", CLI, "--show-completion", "bash"], NAMED_SHELL, "complete_bash"),
        (["-c", CLI], COMPLETE, "explain\nexport"),
        (["-c", "import fer_attention; print(dir(fer_attention))"], {}, "SEBlock"),
    ],
    ids=["help", "show completion", "complete", "import"],
)
def test_help_completion_and_import_take_little_memory(arguments, variables, shown):
    memory, output = cost(*arguments, **variables)
    assert shown in output
    assert memory <= 100


CALLS = {f"{words} --help": f"fer-attention {words}" for words in LEAVES}
CALLS |= {"--help": "Recognise the expressions", "--version": fer_attention.__version__}
CALLS |= {"predcit": "Did you mean 'predict'?"}
"""Command lines that compute nothing, with a part of what they print."""

PROBE = """
import json, os, sys
calls = 0

def count(frame, event, argument):
    global calls
    calls += event == "call"

sys.setprofile(count)
from fer_attention.cli import app
sys.setprofile(None)
for line in sys.argv[1:]:
    read, write = os.pipe()
    if not (child := os.fork()):
        sys.stdout = sys.stderr = open(write, "w")
        sys.setprofile(count)
        try:
            app(line.split(), prog_name="fer-attention")
        except SystemExit:
            pass
        sys.setprofile(None)
        print(json.dumps([calls, sorted(sys.modules)]), flush=True)
        os._exit(0)
    os.close(write)
    with open(read) as shown:
        *output, last = shown.read().splitlines()
    used = os.wait4(child, 0)[2]
    print(json.dumps([used.ru_maxrss / 1024, *json.loads(last), " ".join(output)]))
"""


@pytest.fixture(scope="module")
def probed():
    """The cost of each command line, in forks of one Python that has loaded the command line alone."""
    lines = cost("-c", PROBE, *CALLS)[1].splitlines()
    return dict(zip(CALLS, map(json.loads, lines), strict=True))


@linux
@pytest.mark.parametrize("line", CALLS)
def test_help_is_quick(line, probed):
    """Loaded modules and calls of functions stand for time, which a busy machine would stretch."""
    memory, calls, modules, output = probed[line]
    assert CALLS[line] in output
    assert not HEAVY & set(modules)
    assert memory <= 60
    assert len(modules) <= 600
    assert calls <= 600_000


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_shows_the_first_line_of_each_help(name):
    command = LazyGroup.load(name)
    assert inspect.cleandoc(command.help).split("\n\n")[0].replace("\n", " ") == COMMANDS[name]


def test_only_the_width_of_the_terminal_breaks_the_paragraphs_of_help():
    paragraphs = [part for command in LEAVES.values() for part in command.help.split("\n\n")]
    assert [part for part in paragraphs if "\n" in part] == []


@pytest.mark.parametrize(("words", "command"), LEAVES.items(), ids=LEAVES)
def test_help_ends_with_examples_that_the_command_accepts(words, command):
    first, *lines = command.epilog.split("\n\n")
    assert first == "Examples:"
    for line in lines:
        assert line.startswith(f"fer-attention {words}")
        arguments = shlex.split(line)[1 + len(words.split()) :]
        command.make_context(words, arguments)  # raises on an unknown option or a value of another type


@pytest.mark.parametrize(("registry", "names"), BUILT_IN.items())
def test_help_lists_the_names_that_are_registered(registry, names):
    module, _, name = registry.rpartition(".")
    assert ", ".join(getattr(import_module(f"fer_attention.{module}"), name)) == names


def test_help_shows_the_defaults_of_the_library():
    assert (choices.DEFAULT_WEIGHTS, choices.MAX_PIXELS) == (bundled.DEFAULT, decoding.MAX_PIXELS)


def test_the_table_of_commands_lists_every_file():
    shared = {"__init__", "__main__", "choices", "common", "datasets", "detectors", "lazy", "training_output"}
    shared |= {"wording"}
    files = {path.stem for path in (ROOT / "fer_attention" / "cli").glob("*.py")}
    assert files - shared == set(COMMANDS)


def test_public_names_complete_and_load_and_others_are_refused():
    assert set(fer_attention.__all__) <= set(dir(fer_attention))
    assert fer_attention.SEBlock is SEBlock
    with pytest.raises(AttributeError, match="'fer_attention' has no attribute 'SEBlok'"):
        _ = fer_attention.SEBlok


def test_type_checkers_and_python_agree_on_public_names():
    tree = ast.parse(Path(fer_attention.__file__).read_text(encoding="utf-8"))
    typed = {
        node.module.removeprefix("fer_attention."): tuple(alias.name for alias in node.names)
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
    }
    assert typed == fer_attention._PARTS
    assert sorted(name for names in typed.values() for name in names) == sorted(fer_attention.__all__)


BOTH = "timm.list_models('*_cbam_*'); timm.create_model('resnetv2_50_cbam_elu', device='meta')"


FIRST = [
    f"import fer_attention, timm; {BOTH}",
    f"import timm, fer_attention; {BOTH}",
    "import fer_attention; from timm.models import create_model; "
    "create_model('resnetv2_50_cbam_elu', device='meta')",
    "from timm.models import create_model; import fer_attention; "
    "create_model('resnetv2_50_cbam_elu', device='meta')",
    f"from fer_attention.attention import SEBlock; import timm; {BOTH}",  # timm comes amid our own import
    f"from fer_attention import list_models; import timm; {BOTH}",
]
FORKED = """
import os, sys, torch
for code in sys.argv[1:]:
    if not (child := os.fork()):
        exec(code)
        sys.stdout.flush()
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print("failed:", code, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
def test_timm_knows_our_names_without_a_warning_whatever_is_imported_first():
    *_, text = cost("-W", "error", "-W", "ignore::ResourceWarning", "-c", FORKED, *FIRST)
    assert text == ""


def test_nothing_watches_imports_once_timm_has_our_names():
    import timm  # noqa: F401

    assert not any(type(finder).__module__ == "fer_attention.timm_names" for finder in sys.meta_path)


def test_timm_knows_a_block_that_is_registered_later(open_registries):
    import timm

    @ATTENTIONS.register("late")
    class Late(SEBlock):
        """SE under another name."""

    model = timm.create_model("resnet18_late_elu", device="meta", num_classes=3)
    assert isinstance(model.layer1[0].attn, Late)
