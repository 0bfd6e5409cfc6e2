"""`pgregistry diagnose`: which rank holds up a run that is stuck."""

from __future__ import annotations

import click

from pgregistry.cli.options import examples
from pgregistry.diagnosis.api import diagnose
from pgregistry.planning.plans.expectation import read_plan


@click.command(
    "diagnose", epilog=examples("pgregistry diagnose records", "pgregistry diagnose records --plan plan.json --json")
)
@click.argument("folder", metavar="DIR")
@click.option("--plan", metavar="FILE", help="The JSON of the run's plan, as `plan --json` prints it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diagnose_command(folder: str, plan: str | None, as_json: bool) -> None:
    """Show which rank holds up a run that is stuck, from the flight records in DIR; exit with 1 if one does.

    Records are the files that torch dumps, one a rank, as pickles or JSON. Some may be missing. Nothing in them is run.
    """
    diagnosis = diagnose(folder, None if plan is None else read_plan(plan, f"--plan {plan}"))
    for problem in diagnosis.problems:
        click.echo(problem, err=True)
    click.echo(diagnosis.to_json() if as_json else str(diagnosis))
    if diagnosis.guilty or diagnosis.problems:
        raise click.exceptions.Exit(1)
