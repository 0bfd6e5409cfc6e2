"""The training script has the losses of one process in every layout, and a checkpoint of one layout loads in all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import gpt_ranks
import needs
import pytest
from documents import read
from ranks import run_ranks

import pgregistry

#: The layouts of the table in the README of the script: how many ranks, and the sizes.
ROWS: Mapping[str, tuple[int, list[str]]] = {
    row: (int(ranks), sizes.split())
    for row, ranks, sizes in re.findall(
        r"^\| (.+?) \| (\d) \| `(.*?)` \|", read("examples/gpt/README.md"), re.MULTILINE
    )
}
STEPS, SAVED = 20, 10
#: Experts in every row, so that each row can load the checkpoints of all.
MODEL = ["--experts", "2", "--layers", "2"]


@cache
def alone(steps: int, *model: str) -> list[float]:
    """Return the losses of plain torch in one process."""
    losses: list[float] = run_ranks(1, gpt_ranks.alone, ["--steps", str(steps), *model], world=False)[0]
    return losses


def test_the_table_has_the_layouts_that_training_needs() -> None:
    assert {"tensor=2", "pipe=2", "pipe=2 tensor=2", "context=2"} <= {" ".join(sizes) for _, sizes in ROWS.values()}
    assert len(ROWS) == 8


@needs.MESHES
def test_tensor_and_pipeline_parallel_runs_have_the_losses_of_one_process() -> None:
    more = ["--steps", "3", "--layers", "2"]
    for expected, losses in run_ranks(2, gpt_ranks.compare, [["tensor=2"], ["pipe=2"]], more, world=False):
        assert losses == [pytest.approx(expected, abs=1e-4)] * 2


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, list[float]]]:
    """Return the checkpoints and the losses of a row."""

    @cache
    def train(row: str) -> tuple[Path, list[float]]:
        ranks, sizes = ROWS[row]
        folder = tmp_path_factory.mktemp("checkpoints")
        words = [*sizes, *MODEL, "--steps", str(STEPS), "--save-every", str(SAVED), "--checkpoints", str(folder)]
        first, *others = run_ranks(ranks, gpt_ranks.run, words, world=False, timeout=200)
        assert others == [first] * len(others)
        return folder, first

    return train


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_the_losses_of_one_process(row: str, saved: Callable[[str], tuple[Path, list[float]]]) -> None:
    _, losses = saved(row)
    assert losses == pytest.approx(alone(STEPS, *MODEL), abs=1e-4)
    assert losses[-1] < losses[0] - 1


def resumed(sizes: Sequence[str], folders: Sequence[str]) -> list[list[float]]:
    """Return the losses of the step after each checkpoint."""
    return gpt_ranks.run_all(
        [[*sizes, "--checkpoints", folder] for folder in folders], [*MODEL, "--steps", str(STEPS + 1)]
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("row", ROWS)
def test_each_row_goes_on_from_the_checkpoint_of_every_row(
    row: str, saved: Callable[[str], tuple[Path, list[float]]], tmp_path: Path
) -> None:
    ranks, sizes = ROWS[row]
    # Copies, since a run saves its last step too.
    folders = [str(shutil.copytree(saved(other)[0], tmp_path / str(number))) for number, other in enumerate(ROWS)]
    (expected,) = alone(STEPS + 1, *MODEL)[STEPS:]
    for losses in run_ranks(ranks, resumed, sizes, folders, world=False, timeout=300):
        assert losses == [[pytest.approx(expected, abs=1e-4)]] * len(ROWS)


MODEL_OF_A_RUN = {"layers": 4, "width": 32, "experts": 0}


def written(folder: Path) -> Path:
    """Write what a checkpoint is checked by."""
    path = folder / "step-00000010"
    path.mkdir()
    (path / "__0_0.distcp").write_bytes(b"12345")
    gpt_ranks.script("manifest").write(path, 10, MODEL_OF_A_RUN)
    return path


def refusal(path: Path, **other: int) -> str:
    """Return why a checkpoint is refused."""
    manifest = gpt_ranks.script("manifest")
    with pytest.raises(manifest.Refused) as caught:
        manifest.check(path, {**MODEL_OF_A_RUN, **other})
    return re.sub(r"\S*/", "", str(caught.value))


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    assert refusal(written(tmp_path), layers=2, experts=4) == (
        "step-00000010 is of another model: layers is 4 there and 2 here, experts is 0 there and 4 here."
    )


def test_a_checkpoint_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert gpt_ranks.script("manifest").check(path, MODEL_OF_A_RUN) == 10
    (path / "__0_0.distcp").write_bytes(bytes(5))
    assert refusal(path) == "step-00000010 is not whole: __0_0.distcp has other bytes than were written."
    (path / "__0_0.distcp").write_bytes(b"123")
    assert refusal(path) == "step-00000010 is not whole: __0_0.distcp must have 5 bytes and has 3."
    (path / "__0_0.distcp").unlink()
    assert refusal(path) == "step-00000010 is not whole: __0_0.distcp must have 5 bytes and is missing."
    (path / "manifest.json").write_text('{"step": 10')
    assert refusal(path) == "step-00000010 is not whole: manifest.json cannot be read (JSONDecodeError)."
    (path / "manifest.json").unlink()
    assert refusal(path) == "step-00000010 is not whole: manifest.json cannot be read (FileNotFoundError)."


@pytest.mark.slow
def test_the_last_good_checkpoint_is_the_one_that_a_run_goes_on_from(tmp_path: Path) -> None:
    words = ["--layers", "2", "--checkpoints", str(tmp_path), "--save-every", "2"]
    first = run_ranks(2, gpt_ranks.run, [*words, "--steps", "5"], world=False)[0]
    first += run_ranks(2, gpt_ranks.run, [*words, "--steps", "6"], world=False)[0]  # the last step is saved at once
    assert len(first) == 6
    shutil.rmtree(tmp_path / "step-00000005")
    (tmp_path / "step-00000006" / "manifest.json").unlink()
    (tmp_path / "step-00000004" / "__1_0.distcp").write_bytes(b"")
    again = run_ranks(2, gpt_ranks.run, [*words, "--steps", "6"], world=False)[0]
    assert again == first[2:]
    assert len(run_ranks(2, gpt_ranks.run, [*words, "--steps", "7", "--dropout", "0.1"], world=False)[0]) == 1
    shutil.rmtree(tmp_path / "step-00000007")
    for step in (2, 4, 6):
        (tmp_path / f"step-{step:08}" / "manifest.json").unlink()
    with pytest.raises(AssertionError, match="step-00000006 is not whole"):
        run_ranks(2, gpt_ranks.run, [*words, "--steps", "6"], world=False)
    for step in (2, 4, 6):
        shutil.rmtree(tmp_path / f"step-{step:08}")
    (tmp_path / "step-00000002.partial").mkdir()  # the first save of all was cut short
    assert run_ranks(2, gpt_ranks.run, [*words, "--steps", "2"], world=False)[0] == first[:2]
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [["tensor=2"], ["zero1=2"]])
def test_a_run_that_goes_on_has_the_rate_that_it_is_given(sizes: list[str], tmp_path: Path) -> None:
    """The second step after the checkpoint shows what the first one changed: with a rate of 0 nothing."""
    words = [*sizes, "--layers", "2", "--save-every", "2", "--checkpoints"]
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    run_ranks(2, gpt_ranks.run, [*words, first, "--steps", "2"], world=False, timeout=100)
    shutil.copytree(first, second)
    on = run_ranks(2, gpt_ranks.run, [*words, first, "--steps", "4"], world=False, timeout=100)
    off = run_ranks(2, gpt_ranks.run, [*words, second, "--steps", "4", "--rate", "0"], world=False, timeout=100)
    assert on[0][0] == off[0][0]
    assert on[0][1] != pytest.approx(off[0][1], abs=1e-3)


@pytest.mark.slow
def test_dropout_draws_other_numbers_along_every_mode_that_splits_activations_and_trains() -> None:
    more = ["--layers", "2", "--steps", "20", "--dropout", "0.1"]
    for losses in run_ranks(4, gpt_ranks.run_all, [["tensor=2"], ["pipe=2"]], more, world=False, timeout=100):
        assert all(of_a_layout[-1] < of_a_layout[0] - 1 for of_a_layout in losses)


@pytest.mark.slow
def test_a_run_shows_no_warning_that_its_logits_are_a_view() -> None:
    for warned in run_ranks(2, gpt_ranks.warned, ["tensor=2", "--steps", "1", "--layers", "1"], world=False):
        assert [text for text in warned if "view" in text] == []


def test_sizes_that_the_script_does_not_combine_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(gpt_ranks.GPT)
    with pytest.raises(pgregistry.ConfigError, match=r"ZeRO-1 \(shard = 1\) goes with tensor = 1, not 2"):
        pgregistry.plan(8, plugins=["pgregistry_gpt"], shard=1, tensor=2)
    with pytest.raises(pgregistry.ConfigError, match=r"zero1 = 2 goes with shard = 1, not 4; set shard = 1, or leave"):
        pgregistry.plan(4, plugins=["pgregistry_gpt"], zero1=2)


@pytest.mark.slow
def test_options_that_ranks_cannot_share_out_evenly_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(gpt_ranks.GPT)
    train = gpt_ranks.script("train")

    def refusal(words: str, world_size: int = 4, **sizes: int) -> str:
        with pytest.raises(SystemExit) as caught:
            train.check(
                train.options(words.split())[0], pgregistry.plan(world_size, plugins=["pgregistry_gpt"], **sizes).sizes
            )
        return str(caught.value)

    assert refusal("--batch 10") == "--batch 10 must be a multiple of 8 (data 4 × --microbatches 2), and above 0."
    assert refusal("", expert=2) == "--experts 0 must be a multiple of 2 (expert 2), and above 0."
    assert refusal("--length 30 --heads 1", tensor=2, context=2) == (
        "--length 30 must be a multiple of 4 (context 2 × tensor 2), and above 0.\n"
        "--heads 1 must be a multiple of 2 (tensor 2), and above 0."
    )
    assert refusal("--layers 3 --heads 3", pipe=4) == (
        "--layers 3 must be at least pipe = 4.\n--microbatches 2 must be at least pipe = 4.\n"
        "--width 32 must be a multiple of 3 (--heads 3), and above 0."
    )
    assert refusal("--experts 2", 6, data=3, context=2) == (
        "--batch 16 must be a multiple of 6 (data 3 × --microbatches 2), and above 0.\n"
        "--width 32 must be a multiple of 6 (data / expert 3 × context 2), and above 0."
    )
    assert refusal("--save-every 0") == refusal("--experts -1") == "2"  # by argparse
    for ranks, sizes in ROWS.values():
        given = dict(size.split("=") for size in sizes)
        plan = pgregistry.plan(ranks, plugins=["pgregistry_gpt"], **{name: int(size) for name, size in given.items()})
        train.check(train.options(MODEL)[0], plan.sizes)


def test_the_plot_has_the_highest_loss_first() -> None:
    assert gpt_ranks.script("progress").plot([3.0, 2.0, 1.0], height=3) == "  3.00 |*  \n       | * \n  1.00 |  *"
