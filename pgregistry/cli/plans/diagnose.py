"""`pgregistry diagnose`: which rank holds up a run that is stuck."""

from __future__ import annotations

import click

from pgregistry.cli.options import PATH, examples
from pgregistry.diagnosis.api import diagnose
from pgregistry.planning.plans.expectation import read_plan


@click.command(
    "diagnose", epilog=examples("pgregistry diagnose records", "pgregistry diagnose records --plan plan.json --json")
)
@click.argument("folder", type=PATH, metavar="DIR")
@click.option("--plan", type=PATH, metavar="FILE", help="Read the plan of the run, as `plan --json` wrote it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def diagnose_command(folder: str, plan: str | None, as_json: bool) -> None:
    """Show which rank holds up a run that is stuck.

    DIR holds the flight records that torch dumps, one file a rank, as pickles or JSON. Some may be missing. Nothing in
    them is executed. The exit status is 1 if a rank holds up the run, or a record cannot be read.
    """
    diagnosis = diagnose(folder, None if plan is None else read_plan(plan, f"--plan {plan}"))
    for problem in diagnosis.problems:
        click.echo(problem, err=True)
    click.echo(diagnosis.to_json() if as_json else str(diagnosis))
    if diagnosis.guilty or diagnosis.problems:
        raise click.exceptions.Exit(1)
