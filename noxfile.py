"""What is checked: `nox` runs all of it, `nox -s tests-3.12` one part, `nox -l` lists the parts."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True
# A machine has the interpreters that it has; those that are not there are skipped, in CI as well.
nox.options.error_on_missing_interpreters = False

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = [*nox.project.python_versions(PROJECT), "3.14"]


def dependencies(*groups: str) -> list[str]:
    """What the dependency groups ask for."""
    return list(nox.project.dependency_groups(PROJECT, *groups))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The suite, in random order, on all cores."""
    session.install("-e", ".[cli]", *dependencies("test"))
    # Many tests start interpreters of their own, which compile the package anew where bytecode is not kept.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the rules for Trio."""
    session.install(*dependencies("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("flake8", "--select=ASYNC", "src", "examples")


@nox.session
def typing(session: nox.Session) -> None:
    """Types, by two checkers."""
    session.install("-e", ".[cli]", *dependencies("typing"), "nox")
    session.run("mypy")
    session.run("pyright")


@nox.session
def examples(session: nox.Session) -> None:
    """Every example runs as it stands."""
    session.install("-e", ".[cli]")
    for example in ("examples/fan_out.py", "examples/first_run.py"):
        session.run("python", example)


@nox.session
def coverage(session: nox.Session) -> None:
    """Which lines and branches the suite reaches."""
    session.install("-e", ".[cli]", *dependencies("test"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-q", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")
