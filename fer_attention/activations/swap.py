"""Replace activations in any model."""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from torch import nn

from fer_attention.activations.functional import functional_calls
from fer_attention.activations.registry import ACTIVATIONS, create_activation
from fer_attention.activations.tree import Reference, Scope, activation_classes, classes_of, references
from fer_attention.elu import ELU
from fer_attention.registry import check_choice

Source: TypeAlias = str | type[nn.Module]


def swap_activation(
    model: nn.Module,
    to: str | Callable[[], nn.Module],
    *,
    source: Source | tuple[Source, ...] = nn.ReLU,
    scope: Scope = "backbone",
) -> int:
    """Replace activation modules by others, in place.

    A new module takes the training mode of the old one, its `inplace` if it has that option, and the device
    and type of the weights next to it (PReLU has a weight of its own). An instance used at several positions
    is replaced by one instance at all of them. Hooks of an old module are lost.

    Our models record the backbone's activation in `model.spec`. With scope `"backbone"` and a registered
    activation for `to`, the spec is updated, so that a saved model is rebuilt correctly. A spec cannot record
    other replacements and stays as it is.

    Args:
        model: Any module tree.
        to: A registered name such as `"elu"`, or a class or function that creates a module without arguments.
        source: Activation to replace: a class (exactly that class; `nn.ELU` includes ours), a registered name
            (which includes timm's own class, as for `"gelu"`), or a tuple of those.
        scope: `"backbone"` skips the activations inside attention gates (ours, timm's and torchvision's;
            timm's SplitAttn as a whole); `"all"` includes them.

    Returns:
        Number of modules replaced, at least 1.

    Raises:
        UnknownNameError: No activation has a given name.
        ValueError: There is nothing to replace, the model itself is such an activation, or `scope` is neither
            `"backbone"` nor `"all"`.
        TypeError: `to` does not create modules, or `source` is not a module class.

    Warns:
        UserWarning: The model also calls such activations as functions (`F.relu(x)`), which can only be
            replaced by editing its class. The warning lists the calls.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.ReLU())
    >>> swap_activation(model, "elu")
    2
    >>> model[1]
    ELU(alpha=1.0, inplace=True)
    """
    check_choice("scope", scope, ("all", "backbone"))
    make = _maker(to)
    classes = _source_classes(source)
    if type(model) in classes:
        raise ValueError(
            f"The model is itself a {type(model).__name__}, which cannot be replaced in place. "
            "Create the new module instead, such as create_activation('elu')."
        )
    positions: dict[nn.Module, list[Reference]] = {}
    for reference in references(model, scope):
        if type(reference.module) in classes:
            positions.setdefault(reference.module, []).append(reference)
    calls = functional_calls(model, classes, scope)
    if not positions:
        raise ValueError(_nothing_found(model, classes, scope, calls))

    news = {old: _replacement(make, old, held[0].parent, model) for old, held in positions.items()}
    for old, held in positions.items():  # only now, so that an error above leaves the model unchanged
        for reference in held:
            reference.parent._modules[reference.name] = news[old]
    if scope == "backbone":
        _record(model, to, {type(old) for old in positions})
    if calls:  # last, since a filter may turn the warning into an error
        warnings.warn(
            f"{type(model).__name__} also calls such activations as functions, which were not replaced: "
            f"{_listed(calls)}. Use modules in the class instead to replace them, too.",
            UserWarning,
            stacklevel=2,
        )
    return len(positions)


def _maker(to: str | Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    if isinstance(to, str):
        create_activation(to)  # an unknown name is an error before anything else
        return lambda: create_activation(to)
    if isinstance(to, nn.Module) or not callable(to):
        raise TypeError(
            "to must be a registered name, or a class or function that creates a new module on each call; "
            f"got {to!r}. For example: to='elu', or to=lambda: nn.ELU(alpha=0.5)."
        )
    return to


def _source_classes(source: Source | tuple[Source, ...]) -> frozenset[type[nn.Module]]:
    classes: set[type[nn.Module]] = set()
    for entry in source if isinstance(source, tuple) else (source,):
        if isinstance(entry, str):
            classes |= classes_of(entry)
        elif isinstance(entry, type) and issubclass(entry, nn.Module):
            classes |= {entry, ELU} if entry is nn.ELU else {entry}
        else:
            raise TypeError(
                "source must be a class such as nn.ReLU, a registered name, or a tuple of those; "
                f"got {entry!r}."
            )
    return frozenset(classes)


def _replacement(
    make: Callable[[], nn.Module], old: nn.Module, parent: nn.Module, model: nn.Module
) -> nn.Module:
    made = make()
    if not isinstance(made, nn.Module):
        raise TypeError(f"to must create modules, but {make!r} returned {made!r}.")
    new: Any = made
    if hasattr(new, "inplace"):
        new.inplace = getattr(old, "inplace", False)
    weights = (w for owner in (parent, model) for w in owner.parameters() if w.is_floating_point())
    if (weight := next(weights, None)) is not None:
        new.to(device=weight.device, dtype=weight.dtype)
    return made.train(old.training)


def _record(model: Any, to: object, swapped: set[type[nn.Module]]) -> None:
    """Update `model.spec` if there is one and its activation was replaced."""
    spec = getattr(model, "spec", None)
    if not dataclasses.is_dataclass(spec) or isinstance(spec, type):
        return
    before = getattr(spec, "activation", None)
    name = next((name for name in ACTIVATIONS if name == to or any(c is to for c in classes_of(name))), None)
    if name and isinstance(before, str) and before in ACTIVATIONS and swapped & classes_of(before):
        model.spec = dataclasses.replace(spec, activation=name)


def _nothing_found(
    model: nn.Module, classes: Iterable[type[nn.Module]], scope: Scope, calls: list[str]
) -> str:
    wanted = " or ".join(sorted(c.__name__ for c in classes)) or "activation (source is empty)"
    where = " outside its attention gates" if scope == "backbone" else ""
    known = activation_classes()
    found = {reference.module for reference in references(model, scope)}
    counts = Counter(type(module).__name__ for module in found if type(module) in known)
    present = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    message = f"{type(model).__name__} has no {wanted}{where}. It has: {present or 'no activation modules'}."
    if scope == "backbone" and any(type(module) in classes for module in model.modules()):
        message += " Its gates have some: use scope='all' to replace them."
    if calls:
        message += f" It calls functions, which cannot be replaced: {_listed(calls)}."
    return message


def _listed(calls: list[str]) -> str:
    more = f", … ({len(calls)} in all)" if len(calls) > 20 else ""
    return ", ".join(calls[:20]) + more
