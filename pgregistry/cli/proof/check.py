"""`pgregistry check`: the properties of plugins, one line each."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from pgregistry.cli.options import examples, plan_options
from pgregistry.cli.streams import in_colour, printing_to_stderr
from pgregistry.errors import ConfigError, PgregistryError, Problems, did_you_mean, listing
from pgregistry.planning.planner import Planner
from pgregistry.registry.manager import Registry
from pgregistry.settings.merge import read_settings
from pgregistry.settings.sources import from_command_line
from pgregistry.settings.tracing import log, tracing

if TYPE_CHECKING:
    from pgregistry.testing.subject import Subject


@click.command("check", epilog=examples("pgregistry check", "pgregistry check tensor --quiet"))
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--only", metavar="A,B", help="Use only these plugins, for one that conflicts with others.")
@click.option("--enable", metavar="A,B", help="Switch these plugins on as well.")
@click.option("--disable", metavar="A,B", help="Leave these plugins out.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the properties that fail.")
@plan_options("plugins")
def check_command(
    names: tuple[str, ...],
    only: str | None,
    enable: str | None,
    disable: str | None,
    plugins: tuple[str, ...],
    quiet: bool,
    trace: bool | None,
) -> None:
    """Check plugins: those that are named, or all that are on.

    Each property is checked at many world sizes without torch. Then one plan is built on local
    gloo ranks. --trace shows one plan of 8 ranks.
    """
    from pgregistry.testing.ranks.local_ranks import LocalRanks  # slow import, needed only here
    from pgregistry.testing.subject import Subject

    beside = (only or "").replace(",", " ").split() or None
    also = (enable or "").replace(",", " ").split()
    typed = from_command_line((), {"plugins": plugins, "disable": disable}, Problems())
    settings = read_settings(Problems(), command_line=typed)
    named, off = [one.value for one in settings.plugins], [*settings.disable]
    with LocalRanks() as ranks:
        subjects = [
            Subject(name, only=beside, enable=also, disable=off, plugins=named, run_ranks=ranks.run)
            for name in dict.fromkeys(names or _installed({**typed, "enable": also}))
        ]
        problems = Problems()
        for subject in subjects:
            with problems.collecting():
                _ = subject.found
        problems.raise_any()
        with tracing(trace), printing_to_stderr():
            for subject in subjects if log.isEnabledFor(logging.DEBUG) else ():
                with suppress(PgregistryError):  # a property reports it
                    Planner.read(8, subject.keywords(8, {}), environ={}).plan()
        checked = [_check(subject, quiet) for subject in subjects]
    wrong, not_tried = (sum(counts) for counts in zip(*checked, strict=True))
    if wrong:
        failing = [subject.plugin for subject, (failed, _) in zip(subjects, checked, strict=True) if failed]
        click.echo(f"\n{wrong} {'property fails' if wrong == 1 else 'properties fail'}: {listing(failing)}")
        raise click.exceptions.Exit(1)
    tried = "every property that was tried holds" if not_tried else "every property holds"
    holds = f"{tried}: {len(subjects)} plugin{'s' * (len(subjects) != 1)}"
    click.echo(holds if quiet else f"\n{holds}")


def _installed(typed: Mapping[str, Any]) -> list[str]:
    """Return the names of the plugins that are on, and of those that fail."""
    problems = Problems()
    with printing_to_stderr():
        registry = Registry.read(problems, command_line=typed)
    problems.raise_any()
    names = [status.installed.plugin.name for status in registry.statuses if status.name != "disabled"]
    if not names:
        installed = [status.installed.plugin.name for status in registry.statuses]
        raise ConfigError(f"No plugin is on. {did_you_mean('', installed)}")
    return list(dict.fromkeys(names))


def _check(subject: Subject, quiet: bool) -> tuple[int, int]:
    """Print a line for each property, or for those that fail; return how many fail, and how many were not tried."""
    from pgregistry.testing.case import NotTried
    from pgregistry.testing.properties import PROPERTIES

    plugin = next(one.plugin for one in subject.found if one.plugin.name == subject.plugin)
    installed = f"{plugin.distribution} {plugin.version}" if plugin.distribution else "not installed"
    head, failed, not_tried, printed = f"{plugin.name} ({installed})", 0, 0, set[str]()
    if not quiet:
        click.echo(head)
    for one in PROPERTIES:
        try:
            with printing_to_stderr():  # a plugin may print
                wrong = one.wrong(subject)
        except NotTried as reason:
            verdict, wrong, not_tried = "—", [] if quiet else [f"not tried: {reason}"], not_tried + 1
        else:
            verdict = "FAILS" if wrong else "ok"
        if quiet and wrong and not failed:
            click.echo(head)
        if wrong or not quiet:
            click.echo(f"  {_coloured(verdict)}  {one.sentence}")
        for text in wrong:
            shown = "as above" if text in printed else text
            click.echo("\n".join(f"         {line}" for line in shown.splitlines()))
            printed.add(text)
        failed += verdict == "FAILS"
        if wrong and one is PROPERTIES[0]:
            click.echo("  the others were not checked")
            break
    return failed, not_tried


def _coloured(verdict: str) -> str:
    """Return a verdict in its column; in a terminal, green if a property holds and red if it fails."""
    return (
        click.style(f"{verdict:5}", fg={"ok": "green", "FAILS": "red"}.get(verdict)) if in_colour() else f"{verdict:5}"
    )
