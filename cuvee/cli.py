"""The command line, `cuvee`; `cuvee --help` shows what there is."""

import dataclasses
import json
import os
import urllib.request
from importlib import import_module
from typing import Annotated

import typer
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from cuvee.console import console
from cuvee.console import told_plainly as _told_plainly
from cuvee.settings import Settings

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def local() -> None:
    """Run Cuvée on this machine."""
    # Where a proxy is set, httpx, requests and gRPC would ask it for what is on this machine; the processes of the
    # stack inherit this.
    if urllib.request.getproxies():
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))


# The commands of a service live with it; they are named here and not imported, because cuvee knows neither service.
for _module in ("rag_service.commands",):
    import_module(_module).add_to(app)


@app.command()
@_told_plainly
def up() -> None:
    """Start everything and wait until all of it is healthy."""
    from cuvee.stack import lifecycle

    lifecycle.up(Settings.load(), console)


@app.command()
@_told_plainly
def down() -> None:
    """Stop everything; data stays."""
    from cuvee.stack import lifecycle

    lifecycle.down(Settings.load(), console)
    console.print("Stopped. `make demo` or `cuvee up` starts it again with all its data.")


@app.command()
@_told_plainly
def status(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show every process: state, health, memory, address. Exit status 1 if one is not healthy."""
    from cuvee.stack import lifecycle

    rows = lifecycle.status(Settings.load())
    healthy = all(row.healthy for row in rows)
    memory = sum(row.memory_bytes for row in rows)
    if as_json:
        found = {"healthy": healthy, "memory_bytes": memory, "processes": [dataclasses.asdict(row) for row in rows]}
        typer.echo(json.dumps(found, indent=2))
    else:
        table = Table("process", "state", "up", "memory", "address", box=None)
        for row in rows:
            state = "not healthy" if row.state == "RUNNING" else row.state.lower()
            told = "[green]healthy[/]" if row.healthy else f"[red]{state}[/]"
            size = f"{row.memory_bytes / 1e6:.0f} MB"
            table.add_row(row.name, told, f"{row.uptime_seconds} s", size, row.url)
        console.print(table)
        console.print(f"{memory / 1e9:.2f} GB in all")
    if not healthy:
        raise typer.Exit(1)


@app.command()
@_told_plainly
def demo() -> None:
    """Start everything, ingest the sample documents, train the wine model, ask and predict; leave it running."""
    from cuvee.stack import demo as demonstration

    demonstration.run(Settings.load(), console)


@app.command()
@_told_plainly
def migrate() -> None:
    """Bring the database to the newest schema and record the first API key (compose does it before the services)."""
    from cuvee import keys, migrations
    from cuvee.database import connect

    settings = Settings.load()
    engine = connect(settings.resolved_database_url)
    migrations.upgrade(engine)
    if settings.api_key:
        keys.ensure(engine, "first", settings.api_key.get_secret_value())


promotions = typer.Typer(no_args_is_help=True, help="Show what was promoted, what was not, and why.")
app.add_typer(promotions, name="promotions")


@promotions.command("list")
@_told_plainly
def list_promotions(
    artefact: Annotated[
        str | None, typer.Argument(help="Such as wine-quality or index-weights; all by default.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
) -> None:
    """Show decisions and rollbacks, newest first: challenger, what it was compared with, outcome and reason."""
    from cuvee import champions
    from cuvee.database import connect

    with connect(Settings.load().resolved_database_url).connect() as connection:
        for entry in champions.history(connection, artefact, most):
            against = entry.champion.split("@")[0] if entry.champion else "baseline"
            names = f"{entry.artefact} {entry.challenger.split('@')[0]} against {against}"
            console.print(f"{entry.decided_at:%Y-%m-%d %H:%M:%S}  [bold]{escape(names)}[/]: {escape(entry.outcome)}")
            # No table: reasons are sentences, and terminals are narrow.
            console.print(Padding(escape(entry.reason), (0, 0, 0, 2)))


@app.command()
@_told_plainly
def rollback(
    name: Annotated[str, typer.Argument(help="Registered model, such as wine-quality.")],
    why: Annotated[str, typer.Option(help="Recorded with the rollback.")] = "",
) -> None:
    """Serve the version again that was served before the champion; a second call goes back one further."""
    import getpass

    from cuvee import champions
    from cuvee.database import connect
    from cuvee.registry import Registry

    settings = Settings.load()
    engine, registry = connect(settings.resolved_database_url), Registry(settings.resolved_mlflow_uri)
    version = champions.roll_back(engine, registry, name, getpass.getuser(), why)
    console.print(f"Version {version.version} of {name} is champion again; the service swaps to it within seconds.")


@app.command("fetch-java")
@_told_plainly
def fetch_java() -> None:
    """Download a Java 17 runtime into data/java (needs the internet)."""
    from cuvee.stack import java

    console.print(f"Java is in {java.fetch(Settings.load())}")


if __name__ == "__main__":
    app()
