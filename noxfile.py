"""What is checked: `nox` runs all of it, `nox -s tests-3.12` one part, `nox -l` lists the parts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nox
from nox.command import CommandFailed

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


# On the command line, since flake8's configuration files do not take codes of five letters.
RULES_FOR_TRIO = (
    "--select=ASYNC1,ASYNC2,ASYNC3",
    # 114 wants a list of all startable functions; 124: tools of the examples are async without awaiting;
    # 128: a function may hand its task_status on.
    "--extend-ignore=ASYNC114,ASYNC124,ASYNC128",
    (
        "--per-file-ignores="
        # Captured, and raised again once the nursery has closed; cancellations are let through first.
        "src/triplane/tools/background.py:ASYNC103 "
        # Another thread's, raised where it was asked for; and what is awaited on leaving has a shield and a deadline.
        "src/triplane/ledger/sqlite.py:ASYNC102,ASYNC103 "
        # Both nurseries are opened in one statement on purpose.
        "src/triplane/server/websocket/upgrade.py:ASYNC111 "
        # Outside of Trio, between threads: what one raised is raised in the other.
        "src/triplane/testing/threads.py:ASYNC103 "
        # When that sleep is cancelled, somebody else has seen the error.
        "src/triplane/server/websocket/delivery.py:ASYNC120"
    ),
)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The suite, in random order, on all cores."""
    session.install("-e", ".[cli,http,mcp,testing,cassette,fast]", *dependencies("test"))
    # Many tests start interpreters of their own, which compile the package anew where bytecode is not kept.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the rules for Trio."""
    session.install(*dependencies("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("flake8", *RULES_FOR_TRIO, "src", "examples")


@nox.session
def typing(session: nox.Session) -> None:
    """Types, by two checkers."""
    session.install("-e", ".[cli,http,mcp,testing,cassette,fast]", *dependencies("typing"), "nox")
    session.run("mypy")
    session.run("pyright")


@nox.session
def examples(session: nox.Session) -> None:
    """Every example runs as it stands."""
    session.install("-e", ".[cli,mcp]")
    for example in ("fan_out", "first_run", "mcp_tools", "spec_to_pr"):
        session.run("python", f"examples/{example}.py")


CLIENTS = Path(__file__).parent / "tests" / "clients"


@nox.session(default=False)
@nox.parametrize(
    "client", sorted(path.name for path in CLIENTS.iterdir() if path.name[0] not in "._" and path.is_dir())
)
def clients(session: nox.Session, client: str) -> None:
    """Other people's clients against `triplane serve`, each in an environment of its own. Installs a lot."""
    session.install("-e", ".[cli,testing]")
    # Programs for Node.js look for their packages beside themselves.
    folder = Path(session.create_tmp()) / client
    shutil.copytree(CLIENTS / client, folder, dirs_exist_ok=True)
    try:
        if (folder / "package.json").exists():
            session.run("npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), external=True)
        else:
            session.install("-r", str(folder / "requirements.txt"))
    except CommandFailed:
        session.skip(f"{client} cannot be installed on this machine")
    session.run("python", str(CLIENTS / "check.py"), str(folder))


AUTOBAHN = Path(__file__).parent / "tests" / "autobahn"


@nox.session(default=False)
def autobahn(session: nox.Session) -> None:
    """The Autobahn test suite against both wires. The suite needs a Python 2.7, on PATH or of pyenv."""
    python = find_python_2()
    if python is None:
        session.skip("the Autobahn test suite runs on Python 2.7, which this machine does not have")
    suite = Path(session.create_tmp()) / "suite"
    if not (suite / "autobahntestsuite").exists():
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        try:
            session.run(*pip, "--target", str(suite), "-r", str(AUTOBAHN / "suite.txt"), external=True)
        except CommandFailed:
            session.skip("the Autobahn test suite cannot be installed on this machine")
    session.install("-e", ".[fast]")
    session.run("python", str(AUTOBAHN / "check.py"), python, str(suite), *session.posargs)


def find_python_2() -> str | None:
    """A Python 2.7 with pip."""
    there = [shutil.which("python2.7"), *map(str, Path.home().glob(".pyenv/versions/2.7.*/bin/python2.7"))]
    for python in filter(None, there):
        if (
            subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode
            == 0
        ):
            return python
    return None


BENCHMARKS = {
    path.stem.removeprefix("bench_"): path
    for path in sorted(Path(__file__).parent.glob("scripts/bench_*.py"))
}


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """What it costs: `nox -s bench -- core`, and the options of that benchmark after its name."""
    name, *options = session.posargs or [""]
    if name not in BENCHMARKS:
        what = f"There is no benchmark {name!r}." if name else "Which benchmark?"
        session.error(f"{what} There are: {', '.join(BENCHMARKS)}. For example: nox -s bench -- core")
    if name == "tools":
        # The libraries that it is measured beside want their own versions of things.
        session.install("-e", ".[tools]", *dependencies("bench-tools"))
    else:
        session.install("-e", ".[fast]", *dependencies("test"))
    session.run("python", str(BENCHMARKS[name]), *options)


SWEEPS = {
    path.stem.removeprefix("sweep_"): path
    for path in sorted(Path(__file__).parent.glob("scripts/sweep_*.py"))
}


@nox.session(default=False)
def sweep(session: nox.Session) -> None:
    """At every place there is, and not in a sample: `nox -s sweep -- bytes`, and that sweep's options after its name."""
    name, *options = session.posargs or [""]
    if name not in SWEEPS:
        what = f"There is no sweep {name!r}." if name else "Which sweep?"
        session.error(f"{what} There are: {', '.join(SWEEPS)}. For example: nox -s sweep -- bytes")
    session.install("-e", ".[tools,http,fast]", *dependencies("test"))
    session.run("python", str(SWEEPS[name]), *options)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """A million damaged frames for the codec, or `nox -s fuzz -- server --frames 50000 --seed 7` for the server."""
    name, options = "frames", session.posargs
    if options and not options[0].startswith("-"):
        name, *options = options
    if name not in ("frames", "server", "ledger"):
        session.error(f"There is nothing to feed by the name of {name!r}. There are: frames, server, ledger.")
    session.install("-e", ".", *dependencies("test"))
    session.run("python", f"scripts/fuzz_{name}.py", *options)


@nox.session(default=False)
def simulate(session: nox.Session) -> None:
    """Engine and server under a mock clock, fault by fault: `nox -s simulate -- --seeds 2000`, or `--seed 7` again."""
    session.install("-e", ".[tools]", *dependencies("test"))
    session.run("python", "scripts/simulate.py", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Which lines and branches the suite reaches."""
    session.install("-e", ".[cli,http,mcp,testing,cassette,fast]", *dependencies("test"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-q", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")
