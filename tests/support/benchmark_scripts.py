"""Benchmark records with made-up numbers."""

from cost_record import Case, Environment, Measured, Memory, Ratio, Record, Settings, Spread


def spread(median):
    return Spread(median=median, q25=0.9 * median, q75=1.1 * median)


def case(times, *, subject="resnet50", mode="training", size=80, batch=32, memory=None, base="none plain"):
    """Build a case with these medians, their ratios to the base and to timm's, and peaks in MiB."""
    candidates = [
        Measured(
            name=name,
            ms=spread(value),
            memory=memory and Memory(held_mib=memory[name] / 4, added_mib=memory[name] * 3 / 4),
        )
        for name, value in times.items()
    ]
    pairs = [(name, base) for name in times if name != base]
    pairs += [(name, f"{name.split()[0]} timm") for name in times if f"{name.split()[0]} timm" in times]
    ratios = [
        Ratio(of=of, to=to, median=value, low=0.98 * value, high=1.02 * value)
        for of, to in pairs
        if of != to and (value := times[of] / times[to])
    ]
    return Case(
        subject=subject,
        mode=mode,
        size=size,
        shape=(batch, 1, size, size),
        rounds=3,
        base=base,
        candidates=candidates,
        ratios=ratios,
    )


def record(*cases, section="networks", device="cpu", dtype="float32", activation="elu"):
    """Build a record of such cases."""
    return Record(
        section=section,
        command="python benchmarks/attention_cost.py",
        minutes=1,
        environment=Environment(
            fer_attention="0.1.0",
            torch="2.9",
            timm="1.0",
            python="3.12",
            device=device,
            threads=2,
            cpu_capability="AVX2",
            processor="test processor",
            cores=2,
            system="Linux",
        ),
        settings=Settings(
            device=device,
            dtype=dtype,
            activation=activation,
            memory_format="channels_last",
            rounds=3,
            seconds=1,
            warmup=1,
            least_ms=1,
            seed=0,
        ),
        cases=cases,
    )
