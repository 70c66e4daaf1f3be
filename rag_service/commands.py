"""Commands of `cuvee` about documents and answers. Heavy imports inside them: `cuvee status` must start at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from cuvee.console import console, told_plainly
from cuvee.errors import ConfigurationError, InvalidInputError

index = typer.Typer(no_args_is_help=True, help="Show index generations, and go back to one.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(index, name="index")
    app.command()(evaluate)


@told_plainly
def evaluate(
    golden: Annotated[
        Path | None, typer.Argument(help="Golden set: our own form, SQuAD's, or a BEIR folder. Default: the sample's.")
    ] = None,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune", help="Fit weights and threshold to it; serve them if questions not fitted to prove them better."
        ),
    ] = False,
    written: Annotated[
        bool,
        typer.Option(
            "--written",
            help="Measure the answers that CUVEE_ANSWER_MODEL writes. A local model may take a minute each.",
        ),
    ] = False,
    most: Annotated[int | None, typer.Option(min=1, help="Ask at most so many of the questions.")] = None,
) -> None:
    """Measure retrieval, answers and refusals on questions whose answers are known; the report is in MLflow."""
    from rag_service.pipeline import evaluation

    if tune:
        if written or most:
            raise InvalidInputError(
                "--tune is by all questions and by extractive answers: leave the other options out."
            )
        with console.status("Fitting and measuring"):
            outcome = evaluation.tune_index(golden)
        console.print(f"{'Served' if outcome['promoted'] else 'Not served'}: {outcome['reason']}")
        console.print(f"Refusal threshold chosen: {outcome['threshold']:.4f}")
        return
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as progress:
        task = progress.add_task("Asking", total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        found = evaluation.evaluate_index(golden, written=written, most=most, tell=tell)
    table = Table("measure", "value", box=None)
    for name, value in found["measures"].items():
        table.add_row(name, f"{value:,.4g}")
    console.print(table)
    console.print(f"Answers of {found['answer_model']}")
    console.print(f"MLflow run {found['run_id']}, experiment index-evaluation")


@index.command("list")
@told_plainly
def list_generations() -> None:
    """Show every index generation: what it holds, what made it, and whether it can be gone back to."""
    from rag_service.index import publishing
    from rag_service.pipeline.run import Run

    run = Run.begin(None)
    table = Table("generation", "state", "documents", "chunks", "made by", "published", box=None)
    embedders: dict[str, list[int]] = {}
    for record in publishing.records(run.engine):
        colour = {"published": "green", "reclaimed": "dim"}.get(record.state, "white")
        made_by = record.origin if record.made_from is None else f"{record.origin} {record.made_from}"
        table.add_row(
            str(record.number),
            f"[{colour}]{record.state}[/]",
            str(record.documents),
            str(record.chunks),
            made_by,
            f"{record.published_at:%Y-%m-%d %H:%M:%S}",
        )
        embedders.setdefault(record.embedder, []).append(record.number)
    console.print(table)
    for embedder, numbers in embedders.items():
        console.print(f"Embedder {embedder}" + (f" of {spans(numbers)}" if len(embedders) > 1 else ""))
    present = run.published()
    try:
        differs = run.wanted.differs(present) if present else None
    except ConfigurationError as error:
        differs = str(error)
    if differs:
        console.print(differs)


def spans(numbers: Sequence[int]) -> str:
    """Such as `7 to 9, 4`; the numbers come newest first."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][0] == number + 1:
            runs[-1][0] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in runs)


@index.command("publish")
@told_plainly
def publish(number: Annotated[int, typer.Argument(min=1, help="Generation, as `cuvee index list` shows it.")]) -> None:
    """Serve an older generation again, without what was deleted since."""
    from rag_service import pipeline

    _tell(pipeline.serve_again(number))


@index.command("rollback")
@told_plainly
def rollback() -> None:
    """Serve the generation before the present one again; twice goes back two."""
    from rag_service import pipeline

    _tell(pipeline.go_back())


@index.command("rebuild")
@told_plainly
def rebuild(
    golden: Annotated[
        Path | None, typer.Option(help="Golden set in our own form, about your documents. Default: the sample's.")
    ] = None,
    accept: Annotated[
        str | None, typer.Option(help="Serve the new index whatever the measurement says, and record this reason.")
    ] = None,
) -> None:
    """Index every document anew with what the settings name now, and serve that if it is not worse.

    What is served stays, and stays up to date, until then. Interrupted, it goes on where it was.
    """
    from rag_service.pipeline import rebuild as steps

    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as progress:
        task = progress.add_task("Reading and embedding documents", total=None)
        read = steps.read_anew(lambda done, total: progress.update(task, completed=done, total=total))
    console.print(f"Embedder {read['embedder']}; {read['failed']} of {read['documents']} documents cannot be read")
    with console.status("Building and measuring"):
        judged = steps.judge(accept, golden)
    console.print(f"{'Promoted' if judged['promoted'] else 'Not served'}: {judged['reason']}")
    if not judged["promoted"]:
        console.print('What was read is kept: with --accept "why" it is served all the same.')
        raise typer.Exit(1)
    receipt = steps.publish_anew()
    console.print(
        f"Published generation {receipt['generation']}: {receipt['documents']} documents, {receipt['chunks']} chunks. "
        "`cuvee index rollback` goes back."
    )


def _tell(receipt: dict[str, Any]) -> None:
    console.print(
        f"Published generation {receipt['generation']}: what is alive of generation {receipt['made_from']}, "
        f"{receipt['documents']} documents, {receipt['chunks']} chunks."
    )
    if receipt["waiting"]:
        console.print(
            f"{receipt['waiting']} documents came later; the next run of index_documents indexes them again. "
            "Delete those that you do not want."
        )
