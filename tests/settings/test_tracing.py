"""`tracing` prints log lines of `pgregistry.plan` on stderr, in one place, and leaves logging as it was."""

from __future__ import annotations

import logging

import pytest

import pgregistry
from pgregistry.settings.tracing import log, tracing


def test_lines_are_printed_with_the_name_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with tracing(True):
        log.debug("one\n  two")
    assert capsys.readouterr().err == "pgregistry: one\npgregistry:   two\n"


def test_a_trace_inside_another_prints_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    with tracing(True), tracing(True):
        log.debug("once")
    assert capsys.readouterr().err == "pgregistry: once\n"


def test_logging_is_as_before_when_the_trace_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), tracing(True):
        raise RuntimeError
    assert (log.handlers, log.level) == ([], logging.NOTSET)
    log.debug("after")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("asked", "printed"), [(None, True), (False, False)])
def test_the_variable_counts_only_if_nobody_decides(
    asked: bool | None, printed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PGREGISTRY_TRACE", "1")
    with tracing(asked):
        log.debug("line")
    assert bool(capsys.readouterr().err) == printed


def test_an_application_gets_the_lines_by_logging_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="pgregistry.plan"):
        pgregistry.plan(8, tensor=2)
    messages = [record.getMessage() for record in caplog.records if record.name == "pgregistry.plan"]
    assert any(message.startswith("pgregistry_modes() of plugin 'tensor'") for message in messages)


def test_a_plan_formats_no_line_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("pgregistry.registry.manager.describe_result", fail)
    monkeypatch.setattr("pgregistry.planning.explanation.describe_result", fail)
    assert pgregistry.plan(8, tensor=2).modes
