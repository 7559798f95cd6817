"""The Triton kernels of fused attention without a GPU: in Triton's interpreter, and compiled for a GPU.

The interpreter has to be chosen before Triton is imported, and would stay for every other test. So
`interpreted_triton.py` runs in a Python of its own, and each of its tests reports here by name.
"""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree  # noqa: S405 - the file is written by our own process

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tests.support.triton_formulas as formulas
from fer_attention.attention.fused import cuda, triton_launch
from fer_attention.attention.fused.gates import FusedActivation
from tests.attention.fused import interpreted_triton
from tests.support.paths import ROOT

INNER = Path(interpreted_triton.__file__)
TESTS = {name: test for name, test in vars(interpreted_triton).items() if name.startswith("test_")}
SLOW = [name for name, test in TESTS.items() if "slow" in {m.name for m in getattr(test, "pytestmark", [])}]

needs_triton = pytest.mark.skipif(not cuda.AVAILABLE, reason="Triton is not installed")


def run_interpreted(folder, marker):
    """Return the failures by test, {name: [(case, messages)]}, and the output of pytest."""
    report = folder / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(INNER),
        "-o",
        "addopts=",
        "-m",
        marker,
        "-p",
        "no:cacheprovider",
    ]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run(
        [*command, f"--junitxml={report}"],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    cases = {}
    for case in ElementTree.parse(report).iter("testcase") if report.exists() else ():  # noqa: S314
        trouble = [
            part.text or part.get("message") for part in case if part.tag in ("failure", "error", "skipped")
        ]
        cases.setdefault(case.get("name").partition("[")[0], []).append((case.get("name"), trouble))
    return cases, run.stdout + run.stderr


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    return run_interpreted(tmp_path_factory.mktemp("interpreted"), "not slow")


@pytest.fixture(scope="module")
def interpreted_slow(tmp_path_factory):
    return run_interpreted(tmp_path_factory.mktemp("interpreted"), "slow")


def assert_passed(name, outcome):
    cases, output = outcome
    assert cases.get(name), f"{name} did not run:\n{output}"
    failed = [f"{case}\n{text}" for case, trouble in cases[name] for text in trouble]
    assert not failed, "\n\n".join(failed)


@needs_triton
@pytest.mark.parametrize("name", [name for name in TESTS if name not in SLOW])
def test_in_the_interpreter(name, interpreted):
    assert_passed(name, interpreted)


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_in_the_interpreter_slow(name, interpreted_slow):
    assert_passed(name, interpreted_slow)


@needs_triton
@pytest.mark.skipif("TRITON_INTERPRET" in os.environ, reason="the interpreter is on")
def test_maps_on_a_cpu_are_refused_with_a_remedy():
    with pytest.raises(RuntimeError, match=r"Got maps on cpu, but .* CUDA devices"):
        formulas.pool(torch.ones(1, 2, 3, 3))


def test_a_missing_triton_is_reported_with_its_source(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(ImportError, match="comes with PyTorch's CUDA builds"):
        formulas.pool(torch.ones(1, 2, 3, 3))


def test_shapes_that_do_not_fit_are_refused():
    x, gate, positions = torch.ones(2, 3, 4, 5), torch.ones(2, 3), torch.ones(2, 4, 5)
    relu = FusedActivation("relu")
    wrong = [
        lambda: formulas.pool(x[0]),
        lambda: formulas.pool(x.int()),
        lambda: cuda.pool_pixels(x, gate[:, :2]),
        lambda: cuda.combine(x, gate, positions[:, :3], None, relu),
        lambda: cuda.combine(x, gate, None, x[:1], relu),
        lambda: cuda.apply_backward(x[..., :2], x, x, gate, None, relu, affine=None),
        lambda: cuda.apply_backward(x, None, x, gate, None, relu, affine=None),
        lambda: cuda.pool_pixels_backward(x, positions, positions, positions[:1]),
        lambda: cuda.input_backward(x, gate, None, None, gate[:1], None, None),
    ]
    for call in wrong:
        with pytest.raises(ValueError, match=r"Expected|computed from y"):
            call()


def test_a_sample_beyond_32_bits_is_refused():
    with pytest.raises(ValueError, match="A sample has 2×65536×32768 values"):
        triton_launch.pool(torch.empty(1, 2, 65536, 32768, device="meta"), peak=False)


@given(
    st.integers(1, 9), st.integers(1, 5000), st.integers(1, 20000), st.booleans(), st.sampled_from([4, 32])
)
def test_chunks_cover_the_swept_axis_once(samples, kept, swept, kept_is_fast, least_kept):
    launch = triton_launch.launch_config(
        samples, kept, swept, kept_is_fast=kept_is_fast, least_kept=least_kept
    )
    assert launch.chunk * (launch.chunks - 1) < swept <= launch.chunk * launch.chunks
    assert launch.chunk % launch.block_swept == 0
    for block, length in ((launch.block_kept, kept), (launch.block_swept, swept)):
        assert block & (block - 1) == 0
        assert block < 2 * length
    assert launch.block_kept * launch.block_swept <= triton_launch.TILE
    assert 1 <= launch.num_warps <= 4


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_tile_is_wide_along_the_contiguous_axis(fast, slow):
    wide, high = triton_launch.tile_shape(fast, slow)
    assert wide * high <= triton_launch.TILE
    assert wide >= min(fast, triton_launch.WIDE)
    if fast * slow >= 4 * triton_launch.TILE:
        assert wide * high == triton_launch.TILE


def launches(x, monkeypatch):
    """Return the launches of all kernels, with and without their optional inputs."""
    started = []
    monkeypatch.setattr(triton_launch, "_run", lambda name, *rest: started.append((name, *rest)))
    n, c, h, w = x.shape
    gate, positions = x.new_empty((n, c), dtype=torch.float32), x.new_empty((n, h, w), dtype=torch.float32)
    channel, position = positions.int(), gate.int()
    triton_launch.pool(x, peak=True)
    triton_launch.pool_pixels(x, gate)
    triton_launch.combine(x, gate, positions, x, "elu", 1.0)
    triton_launch.combine(x, gate, None, None, "relu", 1.0)
    triton_launch.combine_backward(x, x, x, gate, positions, "elu", 1.0)
    triton_launch.combine_backward(x, None, x, gate, None, "identity", 1.0)
    triton_launch.pool_pixels_backward(x, positions, positions, channel)
    triton_launch.input_backward(x, gate, positions, positions, positions, channel, gate, gate, position)
    triton_launch.input_backward(x, gate, None, None, None, None, gate, None, None)
    return started


def compiled(kernel, arguments, warps):
    """Compile a kernel to machine code for a Hopper GPU, without one."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    names = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.int32: "i32"}
    signature, constants, hints = {}, {}, {}
    for position, (parameter, value) in enumerate(zip(kernel.params, arguments, strict=True)):
        tensor = isinstance(value, torch.Tensor)
        if parameter.is_constexpr or value is None or (not tensor and value == 1):
            signature[parameter.name], constants[parameter.name] = "constexpr", value
            continue
        signature[parameter.name] = f"*{names[value.dtype]}" if tensor else "i32"
        if tensor or value % 16 == 0:  # Triton itself detects it at a launch
            hints[(position,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constants, hints)
    options = {"num_warps": warps, "enable_fp_fusion": True}
    return compile(source, target=GPUTarget("cuda", 90, 32), options=options)


@needs_triton
@pytest.mark.slow
@pytest.mark.skipif("TRITON_INTERPRET" in os.environ, reason="the interpreter is on")
@pytest.mark.parametrize("shape", [(8, 256, 56, 56), (2, 24, 7, 7), (1, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("last", [False, True])
def test_they_compile_for_a_gpu_with_16_byte_instructions(shape, last, monkeypatch, tmp_path):
    from fer_attention.attention.fused import triton_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    format_ = torch.channels_last if last else torch.contiguous_format
    x = torch.empty(shape, dtype=torch.bfloat16, device="meta").contiguous(memory_format=format_)
    for name, _, arguments, warps in launches(x, monkeypatch):
        code = compiled(getattr(triton_kernels, name), arguments, warps)
        ptx = code.asm["ptx"]
        assert code.asm["cubin"]
        assert ".local" not in ptx, f"{name} does not fit the registers"
        if shape[1] == 256:
            assert "ld.global.v4.b32" in ptx, name
            assert "ld.global.b16" not in ptx, f"{name} reads its map number by number"
            assert "st.global.b16" not in ptx, f"{name} writes its map number by number"
