"""``fivesigma convert``: a study's, or a weaver data card's, events into a dataset, and into files for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fivesigma.cli.options import (
    DEADLINE_S,
    RETRIES,
    Deadline,
    Inputs,
    Json,
    MemoryLimit,
    Models,
    Output,
    Quiet,
    Retries,
    Scheduler,
    Workers,
    engine_of,
    parse_inputs,
    print_json,
    print_table,
    shown_progress,
)
from fivesigma.core.errors import ConfigError

if TYPE_CHECKING:
    from fivesigma.core.engine import Engine
    from fivesigma.dataset import Conversion, ConversionPlan, Dataset
    from fivesigma.dataset.exchange import ExchangeFile
    from fivesigma.dataset.weaver_card import WeaverCard

DEFAULT_MAX_LOSS = 0.01  # of each sample
CONVERTED = Path("converted")  # where a card's dataset goes unless told otherwise

Exchange = Annotated[
    list[Path] | None,
    typer.Option(
        "--exchange", help="also write this file for other tools: .parquet, .h5, .lmdb, .npz; may be repeated"
    ),
]
Card = Annotated[Path | None, typer.Option("--weaver", help="convert what this weaver data card asks for, not a study")]
Identity = Annotated[
    str | None, typer.Option("--identity", metavar="A,B,…", help="with --weaver: branches that say which event it is")
]
Signal = Annotated[str | None, typer.Option("--signal", help="with --weaver: the label that is signal")]
SkipBadFiles = Annotated[
    bool, typer.Option("--skip-bad-files", help="leave damaged files out, within --max-loss; the ledger lists them")
]
MaxLoss = Annotated[
    float | None, typer.Option("--max-loss", help="share of a sample that may be left out [default: 0.01]")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be read and written; write nothing")]


def convert(
    study: Annotated[
        str | None, typer.Argument(help="a study that ships with the package, or the path of a YAML file")
    ] = None,
    inputs: Inputs = None,
    models: Models = None,
    output: Output = None,
    weaver: Card = None,
    identity: Identity = None,
    signal: Signal = None,
    exchange: Exchange = None,
    workers: Workers = 2,
    scheduler: Scheduler = None,
    deadline: Deadline = DEADLINE_S,
    retries: Retries = RETRIES,
    memory_limit: MemoryLimit = None,
    dry_run: DryRun = False,
    skip_bad_files: SkipBadFiles = False,
    max_loss: MaxLoss = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Read, select, label, weight and split events; print the ledger."""
    if (study is None) == (weaver is None):
        raise ConfigError("give a study, or a card with --weaver")
    if weaver is None and (identity is not None or signal is not None):
        raise ConfigError("--identity and --signal are for --weaver; a study says both itself")
    if max_loss is not None and not skip_bad_files:
        raise ConfigError("--max-loss says how much --skip-bad-files may cost: give both, or neither")
    engine = engine_of(workers, scheduler, deadline, retries, memory_limit)
    loss = (DEFAULT_MAX_LOSS if max_loss is None else max_loss) if skip_bad_files else None
    card = None if weaver is None else _card(weaver, inputs, identity, signal)
    with shown_progress(quiet):
        if dry_run:
            _print_plan(_plan(study, inputs, models, card, loss, engine), json)
            return
        if card is not None:
            dataset = _convert_card(card, output or CONVERTED, loss, engine)
        else:
            assert study is not None
            dataset = _convert_study(study, inputs, models, output, loss, engine)
        files = _write_exchange(dataset, exchange or ())
    _print_dataset(dataset, files, json)


def _card(weaver: Path, inputs: list[str] | None, identity: str | None, signal: str | None) -> WeaverCard:
    from fivesigma.dataset.weaver_card import read_weaver_card

    if identity is None:
        raise ConfigError("weaver's cards do not say which event is which: name the branches that do with --identity")
    if not inputs:
        raise ConfigError("weaver's cards do not name files: give them as --input SAMPLE=FILES")
    files = {name: (pattern,) for name, pattern in parse_inputs(inputs).items()}
    return read_weaver_card(weaver, files, identity.split(","), signal=signal)


def _plan(
    study: str | None,
    inputs: list[str] | None,
    models: list[str] | None,
    card: WeaverCard | None,
    loss: float | None,
    engine: Engine,
) -> ConversionPlan:
    from fivesigma.dataset import plan_conversion, scan_inputs
    from fivesigma.study import conversion_of, resolve_study

    if card is not None:
        conversion = card.conversion
    else:
        assert study is not None
        conversion = conversion_of(resolve_study(study, parse_inputs(inputs), models, check_options=False))
    return plan_conversion(scan_inputs(_with_loss(conversion, loss), engine))


def _convert_card(card: WeaverCard, output: Path, loss: float | None, engine: Engine) -> Dataset:
    from fivesigma.core.integrity import write_json
    from fivesigma.core.progress import say
    from fivesigma.dataset import convert as convert_files
    from fivesigma.dataset import scan_inputs

    for remark in card.remarks:
        say(f"weaver card: {remark}")
    conversion = _with_loss(card.conversion, loss)
    dataset = convert_files(conversion, output, scan_inputs(conversion, engine), engine=engine)
    write_json(output.with_name(f"{output.name}.weaver.json"), card.to_json())
    return dataset


def _convert_study(
    study: str,
    inputs: list[str] | None,
    models: list[str] | None,
    output: Path | None,
    loss: float | None,
    engine: Engine,
) -> Dataset:
    from fivesigma.study import convert_study, open_run, resolve_study

    definition = resolve_study(study, parse_inputs(inputs), models, check_options=False)
    if loss is not None:
        definition = definition.model_copy(update={"max_loss": loss})
    with open_run(definition, output=output, check_options=False) as (definition, directory):
        return convert_study(definition, directory, engine)


def _with_loss(conversion: Conversion, loss: float | None) -> Conversion:
    return conversion if loss is None else conversion.model_copy(update={"max_loss": loss})


def _write_exchange(dataset: Dataset, paths: list[Path] | tuple[Path, ...]) -> list[ExchangeFile]:
    from fivesigma.dataset.exchange import write_exchange

    return [write_exchange(dataset, path) for path in paths]


def _print_plan(plan: ConversionPlan, json: bool) -> None:
    if json:
        print_json(plan.to_json())
        return
    print_table(plan.sample_rows())
    print()
    print_table(plan.column_rows())
    print(f"\nexpected on disk: {plan.expected_bytes / 1e6:,.1f} MB; nothing was written")


def _print_dataset(dataset: Dataset, files: list[ExchangeFile], json: bool) -> None:
    if json:
        written = [{"path": str(f.path), "format": f.format, "rows": f.rows, "digests": f.digests} for f in files]
        ledger = dataset.ledger.to_json()
        print_json({"dataset": str(dataset.path), "events": len(dataset), "exchange": written, "ledger": ledger})
        return
    print_table(dataset.ledger.rows())
    print_table(dataset.ledger.not_finite_rows())
    print(f"cut-flow:\n{dataset.ledger.cut_flow()}")
    for file in files:
        print(f"{file.format}: {file.rows:,} rows, read back equal: {file.path.resolve()}")
    print(f"{len(dataset):,} events, dataset: {dataset.path.resolve()}")
