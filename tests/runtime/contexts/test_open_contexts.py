"""`pgregistry.current()`: the innermost open context, in whatever thread it is asked for."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from ranks import run_ranks

import pgregistry
from pgregistry import BuildError, ConfigError


def none_open() -> str:
    with pytest.raises(ConfigError) as raised:
        pgregistry.current()
    return str(raised.value)


def one_after_another() -> list[bool]:
    nobody = none_open()
    outer = pgregistry.init()
    found = [pgregistry.current() is outer]
    with pgregistry.init() as inner:
        found.append(pgregistry.current() is inner)
        with outer.as_current() as chosen:
            found += [chosen is outer, pgregistry.current() is outer]
            with pgregistry.init() as innermost:
                found.append(pgregistry.current() is innermost)
            with inner.as_current(), outer.as_current(), inner.as_current():
                found.append(pgregistry.current() is inner)
            found.append(pgregistry.current() is outer)
            outer.close()
            found.append(pgregistry.current() is inner)
        found.append(pgregistry.current() is inner)
        with pytest.raises(BuildError, match="The context is closed"):
            outer.as_current()
    found.append(none_open() == nobody)
    with pytest.raises(ZeroDivisionError), pgregistry.init():
        _ = 1 / 0
    return [*found, none_open() == nobody]


def test_current_is_the_innermost_open_context_or_the_one_that_was_chosen() -> None:
    assert run_ranks(1, one_after_another) == [[True] * 11]


def test_without_an_open_context_it_is_an_error() -> None:
    assert none_open() == (
        "No context is open in this process. Call pgregistry.init() before current(), and close the context after."
    )


class Layer(torch.autograd.Function):
    """A layer whose backward runs one layer more, so deep that autograd goes on in a thread of its own."""

    seen: list[tuple[int, object]] = []  # noqa: RUF012

    @staticmethod
    def forward(ctx: Any, x: Any, depth: int) -> Any:
        ctx.depth = depth
        return x * 1

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        Layer.seen.append((threading.get_ident(), pgregistry.current()))
        if ctx.depth:
            with torch.enable_grad():
                run(ctx.depth - 1)
        return gradient, None


def run(depth: int) -> None:
    Layer.apply(torch.ones(1, requires_grad=True), depth).backward()  # type: ignore[no-untyped-call]


def in_threads_of_autograd() -> tuple[int, bool]:
    Layer.seen.clear()
    with pgregistry.init() as one, pgregistry.init(), one.as_current():
        run(70)
        return len({thread for thread, _ in Layer.seen}), {found for _, found in Layer.seen} == {one}


def test_threads_of_autograd_have_the_context_too() -> None:
    assert run_ranks(1, in_threads_of_autograd) == [(2, True)]


def in_two_threads() -> list[bool]:
    found: list[bool] = []
    with pgregistry.init() as one, pgregistry.init() as other:
        both = threading.Barrier(2, timeout=20)

        def choose(context: Any) -> None:
            with context.as_current():
                both.wait()
                found.append(pgregistry.current() is context)
                both.wait()

        threads = [threading.Thread(target=choose, args=(context,)) for context in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        return [*found, pgregistry.current() is other]


def test_two_threads_each_have_the_context_that_they_chose() -> None:
    assert run_ranks(1, in_two_threads) == [[True] * 3]
