"""weaver's data cards: what one asks for, as a `Conversion`, and word by word what of it we cannot take.

Card format: https://github.com/hqucms/weaver-core. Its expressions are Python that weaver evaluates; here they are parsed,
their functions translated into the expression grammar, and anything else refused by name.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fivesigma.core.errors import ConfigError, ExpressionError, UnknownNameError
from fivesigma.core.registry import unknown_name
from fivesigma.dataset.samples import Conversion, Sample
from fivesigma.read.expression import Expression

SELECTION = "selection"
"""Name of the one cut that a card has."""
_WORDS = ("treename", "selection", "new_variables", "inputs", "labels", "observers", "weights")
_NOT_TAKEN = {
    "test_time_selection": "all events of a sample pass the same selection; make a second conversion for the other",
    "preprocess": "centre and scale belong to the features of a model, which are fitted on its training folds",
    "monitor_variables": "name them under `observers`",
}
_MODULES = ("np", "numpy", "math", "ak", "awkward")
_RENAMED = {
    "absolute": "abs",
    "fabs": "abs",
    "maximum": "max",
    "minimum": "min",
    "num": "count",
    "atan2": "arctan2",
    "sum": "sum",
    "any": "any",
    "all": "all",
}
_PER_EVENT = ("num", "sum", "any", "all", "max", "min", "mean")  # awkward's, with axis=1
_TEMPLATES: dict[str, tuple[int, str]] = {
    "ones_like": (1, "where(isnan({0}), 1, 1)"),
    "zeros_like": (1, "where(isnan({0}), 0, 0)"),
    "logical_and": (2, "(({0}) and ({1}))"),
    "logical_or": (2, "(({0}) or ({1}))"),
    "logical_not": (1, "(not ({0}))"),
    "power": (2, "({0}) ** ({1})"),
    "clip": (3, "min(max({0}, {1}), {2})"),
    "_clip": (3, "min(max({0}, {1}), {2})"),
    "square": (1, "({0}) ** 2"),
}


@dataclass(frozen=True)
class InputGroup:
    """One group of inputs of a card: its columns, the length to pad to, and each column's transform, not applied here.

    A transform has ``center, scale, min, max, pad_value`` as in the card, None for what it leaves out.
    """

    columns: tuple[str, ...]
    length: int | None
    pad_mode: str
    transforms: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class WeaverCard:
    """A card read: the conversion that it asks for, its groups of inputs, and remarks on what was not taken."""

    conversion: Conversion
    inputs: Mapping[str, InputGroup]
    remarks: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Groups and remarks, to be kept beside the dataset."""
        groups = {
            name: {**vars(group), "columns": list(group.columns), "transforms": dict(group.transforms)}
            for name, group in self.inputs.items()
        }
        return {"inputs": groups, "remarks": list(self.remarks)}


def read_weaver_card(
    card: str | Path, files: Mapping[str, Sequence[str]], identity: Sequence[str], *, signal: str | None = None
) -> WeaverCard:
    """The conversion that a card asks for.

    Parameters
    ----------
    card
        path of the YAML file
    files
        sample name → files; weaver is given them on its command line
    identity
        integer branches that say which event it is; weaver has no such notion, and splits by position in the file
    signal
        the label that is signal, where the card has more than two: all others are background. Of two, the first is
        signal unless said otherwise.

    Raises
    ------
    ConfigError
        if the card cannot be read, has no labels, or asks for labels that are not classes.
    ExpressionError
        if the selection, a label, a weight or a variable that is needed uses what our grammar does not have.
    """
    content = _content(Path(card))
    remarks = [f"`{word}` is not taken: {why}" for word, why in _NOT_TAKEN.items() if content.get(word)]
    groups = {name: _group(name, words) for name, words in (content.get("inputs") or {}).items()}
    if not groups:
        raise ConfigError(f"{card}: no `inputs`")
    remarks += _remarks_on(groups)
    label, classes = _label(content.get("labels") or {}, signal)
    columns = tuple(dict.fromkeys(name for group in groups.values() for name in group.columns))
    observers = tuple(dict.fromkeys(n for n in [*(content.get("observers") or ()), *classes] if n not in columns))
    weight = _weight(content.get("weights") or {}, remarks)
    selection = content.get("selection")
    cuts = {SELECTION: translate(str(selection))} if selection else {}
    given = {str(name): str(text) for name, text in (content.get("new_variables") or {}).items()}
    variables = _variables(given, [*columns, *observers], [*cuts.values(), label, weight], remarks)
    conversion = Conversion(
        samples=tuple(Sample(name=name, files=tuple(paths)) for name, paths in files.items()),
        tree=content.get("treename"),
        selection=cuts,
        new_variables=variables,
        columns=columns,
        observers=observers,
        label=label,
        weight=weight,
        identity=tuple(identity),
    )
    return WeaverCard(conversion, groups, tuple(remarks))


def translate(text: str) -> str:
    """An expression of a card in our grammar.

    >>> translate("(np.abs(jet_eta) < 2) & (ak.num(part_pt) > 1)")
    '(abs(jet_eta) < 2) & (count(part_pt) > 1)'

    Raises
    ------
    ExpressionError
        naming what cannot be taken.
    """
    try:
        tree = ast.parse(" ".join(text.split()), mode="eval")
    except SyntaxError as error:
        raise ExpressionError(f"{text!r} is not an expression: {error.msg}") from error
    translated = ast.unparse(_Translation(text).visit(tree))
    Expression(translated)  # says what is left that the grammar does not have
    return translated


class _Translation(ast.NodeTransformer):
    """``np.f(x)`` → ``f(x)``, and functions of other names."""

    def __init__(self, text: str) -> None:
        self.text = text

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name, qualified = _function_name(node.func)
        if name is None:
            raise ExpressionError(f"{self.text!r}: cannot take {ast.unparse(node.func)!r}")
        arguments = [self.visit(argument) for argument in node.args]
        for keyword in node.keywords:
            if not (keyword.arg == "axis" and name in _PER_EVENT and ast.unparse(keyword.value) in ("1", "-1")):
                raise ExpressionError(
                    f"{self.text!r}: cannot take the argument {keyword.arg}={ast.unparse(keyword.value)}"
                )
        if qualified and name in _TEMPLATES:
            n, template = _TEMPLATES[name]
            if len(arguments) != n:
                raise ExpressionError(f"{self.text!r}: {name} takes {n} arguments, got {len(arguments)}")
            return ast.parse(template.format(*map(ast.unparse, arguments)), mode="eval").body
        return ast.Call(ast.Name(_RENAMED.get(name, name)), arguments, [])

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id in _MODULES:
            if node.attr != "pi":
                raise ExpressionError(f"{self.text!r}: cannot take {ast.unparse(node)!r}")
            return ast.Name("pi")
        return node


def _function_name(function: ast.expr) -> tuple[str | None, bool]:
    """Name of a function, and whether it is NumPy's, awkward's or weaver's own; None for a method of something else."""
    if isinstance(function, ast.Name):
        return function.id, function.id.startswith("_")
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id in _MODULES:
        return function.attr, True
    return None, False


def _content(card: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(card.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the weaver card {card}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{card} is not a weaver card: expected words such as inputs and labels")
    for word in content:
        if word not in (*_WORDS, *_NOT_TAKEN):
            raise ConfigError(f"{card}: {unknown_name('word of a weaver card', str(word), [*_WORDS, *_NOT_TAKEN])}")
    return content


def _group(name: str, words: Mapping[str, Any]) -> InputGroup:
    columns, transforms = [], {}
    for entry in words.get("vars") or ():
        column, *rest = entry if isinstance(entry, list) else [entry]
        columns.append(str(column))
        keys = ("center", "scale", "min", "max", "pad_value")
        transforms[str(column)] = dict(zip(keys, [*rest, *[None] * len(keys)], strict=False))
    if not columns:
        raise ConfigError(f"inputs.{name} has no `vars`")
    return InputGroup(tuple(columns), words.get("length"), str(words.get("pad_mode", "constant")), transforms)


def _remarks_on(groups: Mapping[str, InputGroup]) -> list[str]:
    remarks = []
    for name, group in groups.items():
        if any(value is not None for transform in group.transforms.values() for value in transform.values()):
            remarks.append(f"inputs.{name}: centre, scale, clip and pad value are kept in the description, not applied")
        if group.pad_mode != "constant":
            remarks.append(
                f"inputs.{name}: `pad_mode: {group.pad_mode}` is not taken: the loader pads with zeros and a mask"
            )
    return remarks


def _label(words: Mapping[str, Any], signal: str | None) -> tuple[str, list[str]]:
    """The label's expression, 1 for signal, and the branches of the classes.

    weaver takes the largest of the labels, so an event of no class is silently of the first; here it is an error.
    """
    if words.get("type") != "simple" or not isinstance(words.get("value"), list):
        raise ConfigError("`labels` must be of type simple, with a list of 0-1 branches: other labels are not classes")
    classes = [str(name) for name in words["value"]]
    if len(classes) < 2:
        raise ConfigError(f"`labels` needs two classes or more, got {classes}")
    if signal is None and len(classes) > 2:
        raise ConfigError(f"`labels` has {len(classes)} classes: say which is signal: {', '.join(classes)}")
    chosen = signal or classes[0]
    if chosen not in classes:
        raise UnknownNameError(unknown_name("label", chosen, classes))
    return translate(f"where({' + '.join(f'({c})' for c in classes)} == 1, ({chosen}) == 1, -1)"), classes


def _weight(words: Mapping[str, Any], remarks: list[str]) -> str | None:
    if not words:
        return None
    if words.get("use_precomputed_weights"):
        return translate(" * ".join(f"({branch})" for branch in words["weight_branches"]))
    variables = ", ".join(words.get("reweight_vars") or {})
    remarks.append(
        f"`weights`: weaver samples events flat in {variables}; say `reweight` in the study, which keeps all events"
    )
    return None


def _variables(
    given: Mapping[str, str], kept: Sequence[str], expressions: Sequence[str | None], remarks: list[str]
) -> dict[str, str]:
    """The variables that something needs, each before those that use it; of the others, what we could not take."""
    needed: dict[str, str] = {}
    on_the_way: list[str] = []

    def need(name: str) -> None:
        if name in on_the_way:
            raise ConfigError(f"new variables need each other in a circle: {' → '.join([*on_the_way, name])}")
        if name in given and name not in needed:
            on_the_way.append(name)
            try:
                text = translate(given[name])
            except ExpressionError as error:
                raise ExpressionError(f"new variable {name!r}: {error}") from error
            for column in sorted(Expression(text).columns):
                need(column)
            needed[on_the_way.pop()] = text

    for name in kept:
        need(name)
    for expression in expressions:
        for name in sorted(Expression(expression).columns) if expression else ():
            need(name)
    unused = [name for name in given if name not in needed]
    if unused:
        remarks.append(f"new variables that nothing uses are left out: {', '.join(unused)}")
    return needed
