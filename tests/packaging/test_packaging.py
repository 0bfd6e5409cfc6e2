"""The distribution: the built wheel finds its plugins, and imports cost what they should."""

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from origin import EIGHT

from pgregistry_pyinstaller import collect

ROOT = Path(__file__).parents[2]
CONTEXT = """
from pgregistry import Axis, Mode, Split, hookimpl

@hookimpl
def pgregistry_modes():
    yield Mode("context", over=Axis("context", inside=("data", "pipe"), outside="tensor"))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=100,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_core_and_the_plugins_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"pgregistry_data.py", "pgregistry/py.typed", "pgregistry/cli/__init__.py"} <= set(names)
    assert {"pgregistry_pytest.py", "pgregistry/cli/plugins/template/hooks.py.in"} <= set(names)
    assert {f"pgregistry/views/template/page.{kind}" for kind in ("html", "css", "js")} <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names if not name.startswith("pgregistry")} == set()


def test_the_installed_wheel_discovers_its_modes_and_a_third_party_one(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    where = "import site; print(site.getsitepackages()[0])"
    site = Path(subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip())
    with zipfile.ZipFile(wheel) as archive:  # what installing does to a pure wheel, without the network
        archive.extractall(site)
    (site / "pgregistry_context.py").write_text(CONTEXT)
    info = site / "pgregistry_context-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pgregistry-context\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[pgregistry]\ncontext = pgregistry_context\n")
    # Its dependencies come from this environment, which the checkout must not come with.
    ours = [path for path in sys.path if path.endswith("site-packages")]
    script = (
        f"import sys; sys.path += {ours!r}; import pgregistry, json; plan = pgregistry.plan(8, context=2, tensor=2); "
        "print(json.dumps([pgregistry.__file__, plan.modes, plan['context'].groups[:2]]))"
    )
    done = subprocess.run([python, "-I", "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    file, modes, groups = json.loads(done.stdout or "[]" + done.stderr)
    assert Path(file).is_relative_to(site)
    assert [mode for mode in modes if mode in ("context", *EIGHT)] == [
        "context",
        "data",
        "dummy",
        "global",
        "nettest",
        "pipe",
        "tensor",
        "model",
        "zero1",
    ]
    assert groups == [[0, 2], [1, 3]]


def imported_by(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def test_planning_imports_no_torch_and_init_no_click_or_rich() -> None:
    assert not {"torch", "click", "rich"} & imported_by("import pgregistry; pgregistry.plan(8, tensor=2)")
    single = (
        "import os, pgregistry\n"
        "os.environ |= dict(RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='0')\n"
        "os.environ['GLOO_SOCKET_IFNAME'] = 'lo'\n"
        "pgregistry.init(backend='gloo').close()"
    )
    imported = imported_by(single)
    assert "torch" in imported
    assert not {"click", "rich"} & imported


EVERYTHING = """
from pgregistry import *
from pgregistry.testing import *

@hookimpl
def pgregistry_modes():
    yield Mode("all", over=WORLD)

import pgregistry, sys
assert "all" in pgregistry.plan(4, plugins=[sys.modules[__name__]])
assert sorted(name for name in pgregistry.__all__ if name not in globals()) == []
"""


@pytest.mark.parametrize("code", ["import pgregistry", "from pgregistry import *", EVERYTHING])
def test_everything_public_is_imported_without_torch_whether_or_not_it_is_installed(code: str) -> None:
    assert "torch" not in imported_by(code)
    imported_by(f"import sys; sys.modules['torch'] = None\n{code}")


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import pgregistry; pgregistry.init()", "init()"),
        ("from pgregistry.testing import run_ranks; run_ranks(2, print)", "Starting local ranks"),
        ("from pgregistry.cli import main; main(['smoke', '--nproc', '2'])", "Starting local ranks"),
        ("from pgregistry.cli import main; main(['nettest', '--nproc', '2'])", "Starting local ranks"),
    ],
)
def test_what_needs_torch_says_so_in_one_line_without_it(code: str, what: str) -> None:
    script = f"import sys; sys.modules['torch'] = None\n{code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(f"ConfigError: {what} needs torch, which is not installed.")
    assert "pgregistry.cli" not in code or done.stderr.count("\n") == 1


def test_smoke_needs_no_extra() -> None:
    smoke = "import pgregistry.cli.proof.smoke, pgregistry.testing, pgregistry.runtime.initialize"
    assert not {"cloudpickle", "pytest", "matplotlib"} & imported_by(smoke)


def test_the_hook_of_pyinstaller_takes_along_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = ModuleType("PyInstaller.utils.hooks")
    vars(hooks).update(collect_data_files=lambda _: [], copy_metadata=lambda _: [])
    monkeypatch.setitem(sys.modules, "PyInstaller", ModuleType("PyInstaller"))
    monkeypatch.setitem(sys.modules, "PyInstaller.utils", ModuleType("PyInstaller.utils"))
    monkeypatch.setitem(sys.modules, "PyInstaller.utils.hooks", hooks)
    modules = collect()[1]
    files = (ROOT / "pgregistry" / "cli").glob("*/*.py")
    commands = {
        f"pgregistry.cli.{file.parent.name}.{file.stem}" for file in files if "@click.command(" in file.read_text()
    }
    assert commands <= {*modules}
