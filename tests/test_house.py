"""The house keeps its promises: pages say what is, locks are safe, contracts can fail, scripts explain."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

import tldr_highlight
from tldr_highlight import errors
from tldr_highlight.analysis.signals import PICTURE_CURVES, SOUND_CURVES
from tldr_highlight.settings import Settings

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "tldr_highlight"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LOCKS = ("requirements.lock", "requirements-dev.lock")


def text(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def rows(page: str) -> dict[str, list[str]]:
    """Rows of a page's tables by what their first cell has in backquotes: its cells."""
    found: dict[str, list[str]] = {}
    for line in text(page).splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if line.startswith("|") and (name := re.match(r"`([^`]+)`", cells[0])):
            found[name[1]] = cells
    return found


# --- the command line ----------------------------------------------------------------------------------


def commands() -> dict[str, set[str]]:
    """Command -> its long options."""
    from tldr_highlight.cli.main import app

    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return {name: options(command) for name, command in group.commands.items()}


def options(command: Any) -> set[str]:
    """Its long options, and those of its commands where it has some."""
    own = {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("--")}
    return own.union(*map(options, getattr(command, "commands", {}).values())) - {"--help"}


def section(page: str, title: str) -> str:
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"docs/cli.md has no section {title}"
    return found[1]


def test_every_command_and_option_is_documented_and_nothing_else() -> None:
    page = text("docs/cli.md")
    for name, options in commands().items():
        assert f"| [`{name}`](#{name}) |" in page
        part = section(page, name)
        documented = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", part))
        missing = options - documented
        assert not missing, f"docs/cli.md, section {name}, lacks {sorted(missing)}"
        unknown = documented - options
        assert not unknown, f"docs/cli.md, section {name}, has {sorted(unknown)}, which do not exist"


def examples() -> Iterator[tuple[str, str]]:
    """(page, command line) of every example in a code block."""
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                if match := re.match(r"(?:tldr-highlight|\./scripts/install) +(\w[^#]*)", line):
                    yield page.name, match[1].strip()


def test_examples_use_commands_and_options_that_exist() -> None:
    known = commands()
    found = list(examples())
    assert len(found) >= 10
    for page, line in found:
        name, _, rest = line.partition(" ")
        assert name in known, f"{page}: {line}"
        used = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", rest))
        assert used <= known[name], f"{page}: {line}"


def test_every_key_of_the_document_is_documented() -> None:
    from tldr_highlight.clips.document import ClipDoc, CutDoc, FailureDoc, PlanDoc, PlannedDoc
    from tldr_highlight.highlights.document import EvidenceDoc, HighlightDoc, HighlightsDoc

    page = text("docs/cli.md")
    keys = HighlightsDoc.__annotations__ | HighlightDoc.__annotations__ | EvidenceDoc.__annotations__
    assert [k for k in keys if f"`{k}`" not in section(page, "find")] == []
    cut: dict[str, object] = {}
    for shape in (CutDoc, ClipDoc, PlanDoc, PlannedDoc, FailureDoc):
        cut |= shape.__annotations__
    assert [k for k in cut if f"`{k}`" not in section(page, "cut")] == []


def test_every_preset_analyzer_format_and_motion_is_documented() -> None:
    from tldr_highlight.cli import find

    page = section(text("docs/cli.md"), "find")
    words = [*find.FORMATS, *find.Preset, *find.AnalyzerName, *find.Motion]
    assert [w for w in words if f"`{w}`" not in page] == []


# --- settings and errors -------------------------------------------------------------------------------


def test_curves_are_counted_right() -> None:
    count = len(SOUND_CURVES) + len(PICTURE_CURVES)
    for page in ("README.md", "docs/architecture.md", "docs/detection.md"):
        told = re.findall(r"(\d+) (?:curves|numbers per half)", text(page))
        assert told, page
        assert set(told) == {str(count)}, page


def test_settings_are_documented_with_their_defaults() -> None:
    documented = rows("docs/settings.md")
    assert documented.keys() == {f"TLDR_{name.upper()}" for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        shown = "–" if field.default is None else f"`{field.default}`"
        assert documented[f"TLDR_{name.upper()}"][1] == shown, name


def error_classes(base: type[errors.TldrError] = errors.TldrError) -> Iterator[type[errors.TldrError]]:
    for child in base.__subclasses__():
        yield child
        yield from error_classes(child)


def test_errors_are_documented_with_exit_code_and_fate() -> None:
    documented = rows("docs/errors.md")
    classes = {c.code: c for c in error_classes()}
    assert documented.keys() == classes.keys()
    for code, cls in classes.items():
        assert documented[code][1:3] == [str(cls.exit_code), cls.fate.value], code


def test_the_tree_of_errors_has_each_class_once_with_what_it_says() -> None:
    assert errors.__doc__ is not None
    drawn = re.findall(r"[├└]── (\w+) +(\w+) +(\d+) +(\w+)", errors.__doc__)
    true = [
        (c.__name__, c.code, str(c.exit_code), c.fate.value)
        for c in error_classes()
        if c.__module__ == errors.__name__
    ]
    assert sorted(drawn) == sorted(true)


def test_exit_codes_are_documented() -> None:
    listed = set(re.findall(r"^\| (\d+) \|", text("docs/errors.md"), re.MULTILINE))
    assert {str(c.exit_code) for c in error_classes()} | {"0", "130"} <= listed


# --- pages ---------------------------------------------------------------------------------------------


def test_links_lead_somewhere() -> None:
    links = [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", page.read_text("utf-8"))
        if "://" not in target
    ]
    assert len(links) > 30
    assert [f"{page.name}: {target}" for page, target in links if not (page.parent / target).exists()] == []


def test_pages_are_listed() -> None:
    pages = {p.name for p in (ROOT / "docs").glob("[!R]*.*")}
    assert pages <= set(re.findall(r"\]\(([^)]+)\)", text("docs/README.md")))


def test_decisions_are_listed() -> None:
    pages = {p.name for p in (ROOT / "docs" / "decisions").glob("0*.md")}
    assert pages == set(re.findall(r"\]\((0[^)]+)\)", text("docs/decisions/README.md")))
    for page in pages:
        words = text(f"docs/decisions/{page}")
        assert all(f"**{part}.**" in words for part in ("Context", "Decision", "What follows", "Files")), page


def test_every_module_has_a_place_in_the_architecture() -> None:
    listing = text("docs/architecture.md").partition("## Rooms")[2].partition("## Arrows")[0]
    modules = {p.stem if p.stem != "__init__" else p.parent.name for p in SRC.rglob("[!0-9]*.py")}
    missing = {m for m in modules if not re.search(rf"\b{m}\b", listing)} - {"tldr_highlight", "__main__"}
    assert not missing, f"docs/architecture.md, Rooms, lacks {sorted(missing)}"


def test_files_named_in_the_pages_exist() -> None:
    rooms = [p.parent.name for p in SRC.glob("*/__init__.py")]
    for page in (
        "docs/architecture.md",
        *(f"docs/decisions/{p.name}" for p in ROOT.glob("docs/decisions/0*.md")),
    ):
        for name in re.findall(rf"`((?:{'|'.join(rooms)})/[\w./-]*)`", text(page)):
            assert (SRC / name).exists(), f"{page}: {name}"


def test_pages_named_in_the_code_exist() -> None:
    sources = [*SRC.rglob("*.py"), *ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("scripts/*")]
    named = {(p.name, m) for p in sources for m in re.findall(r"\bdocs/[\w/.-]+\.md\b", p.read_text("utf-8"))}
    assert {(name, page) for name, page in named if not (ROOT / page).exists()} == set()


def test_version_is_one_and_in_the_changelog() -> None:
    version = PROJECT["project"]["version"]
    assert tldr_highlight.__version__ == version
    assert re.search(rf"^## .*\b{re.escape(version)}\b", text("CHANGELOG.md"), re.MULTILINE)


def test_tests_mirror_the_rooms() -> None:
    rooms = {p.parent.name for p in SRC.glob("*/__init__.py")}
    assert {r for r in rooms if not list((ROOT / "tests" / r).glob("test_*.py"))} == set()


# --- setting up ----------------------------------------------------------------------------------------


def readme_command(mark: str) -> str:
    found = re.search(rf"^<!-- {mark} -->\n```sh\n(.+)$", text("README.md"), re.MULTILINE)
    assert found, f"README.md has no {mark}"
    return found[1]


@pytest.mark.parametrize("mark", ["command one", "command two"])
def test_readme_commands_can_be_run(mark: str) -> None:
    assert os.access(ROOT / readme_command(mark).split()[0], os.X_OK)


def test_ci_runs_the_readmes_second_command(tmp_path: Path) -> None:
    """With a README whose second command says what it is, `.ci/run` says it, and fails as it does."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    real = text("README.md").replace(f"{readme_command('command two')}\n", "echo it-is-me $CI; exit 7\n")
    (tmp_path / "README.md").write_text(real, "utf-8")
    (tmp_path / "bin").mkdir()
    for peer in ("ffmpeg", "chromium"):  # there, so that nothing is installed
        program(tmp_path / "bin" / peer, "exit 0")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}:/usr/bin:/bin"
    done = subprocess.run(
        [tmp_path / ".ci" / "run"], env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 7
    assert done.stdout.splitlines()[-1] == "it-is-me true"


def pins(lock: str) -> dict[tuple[str, str], str]:
    """(name, marker) -> version, each checked to carry a hash."""
    found: dict[tuple[str, str], str] = {}
    for entry in re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text(lock), flags=re.MULTILINE).strip()):
        match = re.match(r"([a-z0-9-]+)==([^ ;]+)(?: ;([^\\]*))? \\\n +--hash=sha256:[0-9a-f]{64}", entry)
        assert match, f"{lock}: {entry[:60]}"
        found[match[1], (match[3] or "").strip()] = match[2]
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_address(lock: str) -> None:
    assert not re.search(r"://|--index|--find-links|file:", text(lock))


def test_locks_hold_what_the_project_asks_for() -> None:
    project = PROJECT["project"]
    build: list[str] = PROJECT["build-system"]["requires"]
    assert PROJECT["dependency-groups"]["build"] == build
    extras = [r for group in project["optional-dependencies"].values() for r in group]
    for lock, asked in zip(
        LOCKS, (project["dependencies"], [*project["dependencies"], *extras]), strict=True
    ):
        locked = {name for name, _ in pins(lock)}
        wanted = {re.split(r"[<>=\[ ]", r)[0] for r in [*asked, *build]}
        assert wanted <= locked, lock


def test_both_locks_agree() -> None:
    runtime, dev = map(pins, LOCKS)
    assert {k: dev.get(k) for k in runtime} == runtime


def test_wheel_carries_everything_in_the_package() -> None:
    from hatchling.builders.wheel import WheelBuilder

    packed = {f.distribution_path for f in WheelBuilder(str(ROOT)).recurse_included_files()}
    there = [p for p in SRC.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {f"tldr_highlight/{p.relative_to(SRC).as_posix()}" for p in there} <= packed
    assert any(p.endswith(".html") for p in packed)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A copy of what `scripts/install` reads, in a folder with a space; `bin` with its tools, no Python."""
    home = tmp_path / "a clone"
    (home / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "install", home / "scripts")
    for name in (*LOCKS, "pyproject.toml"):
        shutil.copy(ROOT / name, home)
    (home / "bin").mkdir()
    for tool in ("dirname", "cat", "rm"):
        (home / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    return home


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def install(home: Path) -> subprocess.CompletedProcess[str]:
    tools = {"PATH": str(home / "bin")}
    return subprocess.run(
        [home / "scripts" / "install"], env=tools, capture_output=True, text=True, check=False
    )


def test_install_says_that_python_is_missing(bare: Path) -> None:
    done = install(bare)
    assert done.returncode == 1
    assert "Python 3.11 or newer is missing" in done.stderr
    assert not (bare / ".venv").exists()


def test_install_says_which_python_is_too_old(bare: Path) -> None:
    program(bare / "bin" / "python3", 'case "$2" in *print*) echo 3.9.18 ;; *) exit 1 ;; esac')
    done = install(bare)
    assert done.returncode == 1
    assert "python3 is 3.9.18" in done.stderr


def test_install_says_that_venv_is_missing(bare: Path) -> None:
    program(
        bare / "bin" / "python3", f'case "$2" in *ensurepip*) exit 1 ;; esac; exec "{sys.executable}" "$@"'
    )
    done = install(bare)
    assert done.returncode == 1
    assert "ensurepip" in done.stderr
    assert not (bare / ".venv").exists()


# --- import contracts ----------------------------------------------------------------------------------

BREACHES = [
    ("media/timeline.py", "from tldr_highlight.analysis import base", "Rooms import downwards only"),
    ("analysis/base.py", "import sqlalchemy", "Engines know no web, no database, no queue"),
    ("cli/find.py", "import opentimelineio", "OpenTimelineIO stays behind one file"),
    ("storage/local.py", "from botocore.config import Config", "boto3 stays behind one file"),
    ("storage/base.py", "import starlette", "Engines know no web, no database, no queue"),
    ("cli/worker.py", "import celery", "Celery stays behind one room"),
    ("analysis/base.py", "from tldr_highlight.analysis import local", "No cycles anywhere"),
    ("pipeline/find.py", "import rich", "Only the shell's door knows the terminal"),
    ("core/ranges.py", "import socket", "Only core/egress.py opens sockets"),
    ("media/probe.py", "from http.client import HTTPConnection", "Only core/egress.py opens sockets"),
    ("newroom/__init__.py", "", "Rooms import downwards only"),
]


@pytest.mark.parametrize(("file", "line", "contract"), BREACHES, ids=[c for *_, c in BREACHES])
def test_contracts_can_fail(file: str, line: str, contract: str, tmp_path: Path) -> None:
    shutil.copytree(SRC, tmp_path / "tldr_highlight", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    broken = tmp_path / "tldr_highlight" / file
    broken.parent.mkdir(exist_ok=True)
    with broken.open("a") as source:
        source.write(f"\n{line}\n")
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contract} BROKEN" in done.stdout
