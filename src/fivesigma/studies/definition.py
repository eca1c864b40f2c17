"""``StudyDefinition``: what a study's YAML says, checked word by word before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from fivesigma.core.errors import ConfigError, UnknownNameError
from fivesigma.core.registry import nearest_names, unknown_name
from fivesigma.studies.evaluation import EvaluateWords
from fivesigma.studies.words import SampleWords
from fivesigma.studies.words import Words as _Words

WeightPolicy = Literal["keep", "absolute-rescaled", "pair-cancel", "drop-negative"]
ColumnType = Literal[
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"
]
_PACKAGED = "fivesigma:"  # a file name that begins so lies in the package's own sample folder


class RemoteWords(_Words):
    """How to reach inputs given by URL."""

    deadline_s: float = Field(default=60.0, gt=0, description="seconds that one request may take")
    retries: int = Field(default=3, ge=0, description="further tries of a request that failed in a way that may pass")
    back_off_s: float = Field(default=1.0, ge=0, description="seconds before the first of them, doubled each time")
    digest: Literal["full", "ends"] = Field(
        default="full", description="fetch whole files to digest every byte, or digest size, version and ends only"
    )
    ca_bundle: str | None = Field(
        default=None, description="file of the certificate authorities to trust, in place of the system's"
    )


class ReweightWords(_Words):
    """Take the ratio of spectra out by weights, as arXiv:1511.05190 does with pt."""

    variables: tuple[str, ...] = Field(description="columns whose spectra are made equal")
    mode: Literal["match", "flatten"] = Field(
        default="match", description="match one class to the other, or flatten both"
    )
    to: Literal["signal", "background"] = Field(default="background", description="the class that keeps its spectrum")
    bins: int = Field(default=20, ge=1, description="bins a variable, of equal population")
    method: Literal["histogram", "boosted"] = Field(
        default="histogram", description="ratio of binned spectra, or of densities learned by boosted trees"
    )
    out_of_fold: bool = Field(
        default=False, description="factors of a fold from the events of the others; always so with `boosted`"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of boosted reweighting")

    @model_validator(mode="after")
    def _options_belong_to_the_method(self) -> ReweightWords:
        if self.method == "boosted" and self.mode == "flatten":
            raise ValueError("boosted reweighting matches one class to the other: use `mode: match`")
        if self.method == "histogram" and self.options:
            raise ValueError("`options` are those of `method: boosted`")
        return self


class InputWords(_Words):
    """What a model sees: a kind of features and its options."""

    features: str = Field(description="a kind of features: tabular, jet-images")
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the features")


class ModelWords(_Words):
    """One model: an estimator, what it sees, and how it takes signed weights."""

    estimator: str = Field(description="a name that `fivesigma studies estimators` lists")
    inputs: str | tuple[str, ...] | None = Field(
        default=None, description="a name under `inputs`; several for a network that takes them apart"
    )
    scores: tuple[str, ...] = Field(
        default=(), description="models whose scores join the inputs; fitted on the validation fold"
    )
    weight_policy: WeightPolicy = Field(default="keep", description="what is done with negative weights before fitting")
    nuisances: tuple[str, ...] = Field(
        default=(), description="columns that the scores are to be independent of; known at fit, never at prediction"
    )
    domain: str | None = Field(
        default=None, description="column that is 0 for labelled events, 1 for those whose labels are not looked at"
    )
    train_on: str | None = Field(
        default=None, description="selection of the events that the model learns from; all if left out"
    )
    warm_start: str | None = Field(
        default=None, description="model whose network, of the same fold, this one begins with and trains on"
    )
    stream: bool = Field(
        default=False, description="train on batches read from the shards, on more events than memory holds; networks"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the estimator")
    search: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict,
        description="ranges of options for `fivesigma search`: [low, high, log|int] or [a, b, choice]",
    )

    @model_validator(mode="after")
    def _sees_something(self) -> ModelWords:
        if self.inputs is None and not self.scores:
            raise ValueError("a model needs `inputs`, `scores`, or both")
        if self.scores and not isinstance(self.inputs, str | None):
            raise ValueError("a model takes either several `inputs` or `scores`")
        return self

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names under `inputs` that it sees."""
        return (self.inputs,) if isinstance(self.inputs, str) else self.inputs or ()


class ExplainWords(_Words):
    """Which networks are looked into, and against which variables."""

    models: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    windows: dict[str, str] = Field(
        default_factory=dict, description="name and selection of windows for average images"
    )
    max_events: int = Field(
        default=200_000, ge=100, description="events used for looking inside, spread over the sample"
    )


class FlowWords(_Words):
    """What every study says of itself; a flow's own words come after these."""

    study: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="name; also that of the run directory")
    title: str
    reference: str | None = Field(default=None, description="the publication that the study reproduces")
    flow: str = Field(default="classification", description="what kind of study this is")
    seed: int = Field(default=1, ge=0)


class StudyDefinition(FlowWords):
    """A whole study. ``fivesigma studies schema`` prints this as a JSON schema for editors."""

    flow: Literal["classification"] = Field(default="classification", description="what kind of study this is")
    samples: dict[str, SampleWords]
    labels: str | None = Field(default=None, description="expression that is 1 for signal and 0 for background")
    weights: str | None = Field(default=None, description="expression of the signed event weight; 1 if left out")
    selection: dict[str, str] = Field(
        default_factory=dict, description="name and expression of each cut, applied in order"
    )
    new_variables: dict[str, str] = Field(default_factory=dict, description="name and expression of each new column")
    observers: tuple[str, ...] = Field(default=(), description="columns kept but never shown to a model")
    identity: tuple[str, ...] = Field(description="columns that tell one event from another; their hash is the fold")
    row: tuple[str, ...] = Field(
        default=(), description="columns that tell one row from another; `identity` if left out"
    )
    nan: Literal["error", "drop", "keep"] = Field(
        default="error", description="what a NaN or infinity in a kept column does"
    )
    missing: tuple[float, ...] = Field(
        default=(-999.0,), description="values that stand for 'not measured'; counted by column"
    )
    missing_policy: Literal["error", "drop", "keep"] = Field(
        default="keep", description="what such a value in a kept column does"
    )
    dtypes: dict[str, ColumnType] = Field(
        default_factory=dict, description="type of a kept column, needed where files differ; what it rounds is counted"
    )
    max_loss: float | None = Field(
        default=None, gt=0, lt=1, description="share of a sample that damaged files may cost; none if left out"
    )
    folds: int = Field(default=5, ge=3, description="folds: one tests, one validates, the others train, in turn")
    manifest: str | None = Field(
        default=None, description="file of `fivesigma inspect --write-manifest`; inputs that it lists must be as then"
    )
    remote: RemoteWords | None = Field(
        default=None, description="how to reach inputs given by URL; as the environment says if left out"
    )
    reweight: ReweightWords | None = None
    inputs: dict[str, InputWords]
    models: dict[str, ModelWords]
    evaluate: EvaluateWords
    explain: ExplainWords = ExplainWords()
    titles: dict[str, str] = Field(
        default_factory=dict, description="name of a column on axes, with its unit in brackets"
    )
    published: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="published value by model and metric"
    )

    @model_validator(mode="after")
    def _names_are_known(self) -> StudyDefinition:
        for name, model in self.models.items():
            for seen in model.input_names:
                if seen not in self.inputs:
                    raise ValueError(f"models.{name}.inputs: {unknown_name('input', seen, self.inputs)}")
            for score in model.scores:
                if score not in self.models or self.models[score].scores:
                    plain = [m for m, words in self.models.items() if not words.scores]
                    raise ValueError(
                        f"models.{name}.scores: {unknown_name('model with scores of its own', score, plain)}"
                    )
            if (first := model.warm_start) is not None:
                plain = [m for m, words in self.models.items() if words.warm_start is None and not words.scores]
                if first not in plain:
                    raise ValueError(f"models.{name}.warm_start: {unknown_name('model to begin with', first, plain)}")
        for where, names in (("evaluate.baseline", [self.evaluate.baseline]), ("explain.models", self.explain.models)):
            for name in names:
                if name not in self.models:
                    raise ValueError(f"{where}: {unknown_name('model', name, self.models)}")
        if self.labels is None and any(sample.label is None for sample in self.samples.values()):
            raise ValueError("every sample needs a `label`, or the study needs a `labels` expression")
        return self

    def features_of(self, model: ModelWords) -> tuple[str | None, dict[str, Any]]:
        """The kind of features that a model sees, and their options; None for a model of scores alone."""
        if not isinstance(model.inputs, tuple):
            words = self.inputs[model.inputs] if model.inputs is not None else None
            return (None, {}) if words is None else (words.features, words.options)
        parts = {name: self.inputs[name].model_dump() for name in model.inputs}
        return "several", {"parts": parts}


W = TypeVar("W", bound=FlowWords)


def packaged_studies() -> dict[str, Path]:
    """The studies that ship with the package, by name."""
    folder = Path(str(resources.files("fivesigma.studies")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_study(study: str | Path) -> StudyDefinition:
    """A packaged study by its name, or any study by the path of its YAML file.

    Raises
    ------
    ConfigError
        for a YAML that cannot be parsed, unknown words (with the nearest known one) and values that cannot be meant;
        for a study of another flow, which only ``fivesigma run`` takes.
    """
    content, path = read_study(study)
    if (flow := content.get("flow", "classification")) != "classification":
        raise ConfigError(
            f"{path} is of the flow {flow!r}: only `fivesigma run` takes it, with none of --model, --input"
        )
    return parse_study(content, source=str(path))


def read_study(study: str | Path) -> tuple[dict[str, Any], Path]:
    """The words of a study's YAML, not yet checked, and where they stand.

    Raises
    ------
    UnknownNameError, ConfigError
        no such study; not readable as YAML, or not a mapping.
    """
    known = packaged_studies()
    path = known.get(str(study), Path(study))
    if not path.is_file():
        raise UnknownNameError(unknown_name("study", str(study), known) + "; or give the path of a YAML file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable as YAML: {error}") from error
    return _mapping(content, str(path)), path


def _mapping(content: Any, source: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ConfigError(
            f"{source}: expected a mapping of words such as study, samples, models; got {type(content).__name__}"
        )
    return content


def parse_study(content: Any, source: str = "study") -> StudyDefinition:
    """Check the content of a study's YAML (see :func:`load_study` for the errors)."""
    return parse_words(StudyDefinition, content, source)


def parse_words(words: type[W], content: Any, source: str) -> W:
    """Check the content of a study's YAML against the words of its flow (see :func:`load_study` for the errors)."""
    try:
        return words.model_validate(_mapping(content, source))
    except ValidationError as error:
        complaints = "\n".join(f"  {_complaint(words, dict(problem))}" for problem in error.errors())
        raise ConfigError(f"{source} is not a valid study:\n{complaints}") from error


def _complaint(words: type[FlowWords], problem: Mapping[str, Any]) -> str:
    path = [str(part) for part in problem["loc"]]
    where = ".".join(path) or "study"
    if problem["type"] == "extra_forbidden":
        return unknown_name("word", where, _known_words(words, path))
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"


def _known_words(words: type[FlowWords], path: Sequence[str]) -> list[str]:
    """Full paths of the words known beside the last of ``path``."""
    fields = words.model_fields
    for i, part in enumerate(path[:-1]):
        annotation = fields[part].annotation if part in fields else None
        model = _model_in(annotation)
        if model is not None:
            fields = model.model_fields
        elif i == len(path) - 1:
            return []
    return [".".join([*path[:-1], name]) for name in fields]


def _model_in(annotation: Any) -> type[_Words] | None:
    if inspect.isclass(annotation) and issubclass(annotation, _Words):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (model := _model_in(argument)) is not None:
            return model
    return None


def resolve_study(
    study: str | Path | StudyDefinition,
    inputs: Mapping[str, str] | None = None,
    models: Sequence[str] | None = None,
    seed: int | None = None,
    check_options: bool = True,
) -> StudyDefinition:
    """A study by name, path or definition; with other files for some samples, only some of its models, another seed.

    Without ``check_options`` those of models are not looked at, and their learners (torch, scikit-learn) not loaded.

    Raises
    ------
    UnknownNameError
        for samples, models, features, estimators or options that are not known, with the nearest known one.
    """
    from fivesigma.features import FEATURES
    from fivesigma.learn import ESTIMATORS  # here, so that listing studies does not wait for torch

    definition = study if isinstance(study, StudyDefinition) else load_study(study)
    samples = dict(definition.samples)
    for name, files in (inputs or {}).items():
        if name not in samples:
            raise UnknownNameError(unknown_name("sample", name, samples))
        samples[name] = samples[name].model_copy(update={"files": (files,)})
    chosen = _with_ingredients(definition, models) if models else definition.models
    explained = tuple(name for name in definition.explain.models if name in chosen)
    changes = {
        "seed": definition.seed if seed is None else seed,
        "samples": samples,
        "models": chosen,
        "explain": definition.explain.model_copy(update={"models": explained}),
    }
    definition = definition.model_copy(update=changes)
    for name, words in definition.inputs.items():
        accept_options("input", name, FEATURES[words.features], words.options)
    for name, model in definition.models.items():
        if model.estimator not in ESTIMATORS:
            raise UnknownNameError(unknown_name("estimator", model.estimator, ESTIMATORS))
        if check_options:
            accept_options("model", name, ESTIMATORS[model.estimator], model.options)
            _accept_conditions(name, model)
            if model.stream:
                from fivesigma.learn.streaming import refuse_unstreamable

                refuse_unstreamable(name, model)
    return definition


def _accept_conditions(name: str, model: ModelWords) -> None:
    """Refuse nuisances or a domain for an estimator that knows nothing of them."""
    from fivesigma.learn import ESTIMATORS

    for word, attribute, given in (
        ("nuisances", "takes_nuisance", bool(model.nuisances)),
        ("domain", "takes_domain", model.domain is not None),
    ):
        if given and not getattr(ESTIMATORS[model.estimator], attribute, False):
            known = [other for other in ESTIMATORS if getattr(ESTIMATORS[other], attribute, False)]
            raise ConfigError(
                f"models.{name}.{word}: the estimator {model.estimator!r} takes none; "
                f"those that do: {', '.join(known) or 'none'}"
            )
    if model.warm_start is not None and "warm_start" not in inspect.signature(ESTIMATORS[model.estimator]).parameters:
        raise ConfigError(f"models.{name}.warm_start: the estimator {model.estimator!r} is no network to go on with")


def _with_ingredients(definition: StudyDefinition, models: Sequence[str]) -> dict[str, ModelWords]:
    """The models asked for, those whose scores they combine, and the baseline, in the study's order."""
    wanted = {definition.evaluate.baseline}
    for name in models:
        if name not in definition.models:
            raise UnknownNameError(unknown_name("model", name, definition.models))
        words = definition.models[name]
        wanted |= {name, *words.scores}
        wanted |= {first for n in list(wanted) if (first := definition.models[n].warm_start) is not None}
    return {name: words for name, words in definition.models.items() if name in wanted}


def input_files(sample: SampleWords) -> tuple[str, ...]:
    """The sample's files, with those that ship with the package as full paths."""
    return tuple(input_file(file) for file in sample.files)


def input_file(file: str) -> str:
    """A file as a study names it; one that ships with the package as its full path."""
    folder = Path(str(resources.files("fivesigma.studies"))) / "data"
    return str(folder / file.removeprefix(_PACKAGED)) if file.startswith(_PACKAGED) else file


def accept_options(kind: str, name: str, factory: Any, options: Mapping[str, Any]) -> None:
    """Refuse options that ``factory`` does not take, naming the nearest that it does."""
    known = [p for p in inspect.signature(factory).parameters if p != "self"]
    for option in options:
        if option not in known:
            nearest = nearest_names(option, known, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
            raise UnknownNameError(f"{kind} {name!r} has no option {option!r}{hint} Known: {', '.join(sorted(known))}")
