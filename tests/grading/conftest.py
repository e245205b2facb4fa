"""A throw-away PostgreSQL, where Debian's packages are installed."""

import glob
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_TEXT = ("-E", "UTF8", "--locale=C")


class Cluster:
    """A PostgreSQL of its own: a socket in a temporary folder, no network, no fsync."""

    def __init__(self, tools: Path, folder: Path) -> None:
        self._tools, self._folder = tools, folder
        self._user = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            name = "postgres" if _is_user("postgres") else "nobody"
            self._user = {"user": name, "extra_groups": []}
            shutil.chown(folder, name)
        self._numbers = itertools.count()
        self._call("initdb", "-A", "trust", "-U", "course", "--no-sync", *_TEXT)
        self.start()

    def _call(self, tool: str, *words: str) -> None:
        subprocess.run(
            [self._tools / tool, "-D", self._folder / "data", *words],
            cwd=self._folder,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=60,
            **self._user,
        )

    def start(self) -> None:
        options = f"-F -k {self._folder} -c listen_addresses=''"
        log = str(self._folder / "log")
        self._call("pg_ctl", "start", "-w", "-s", "-l", log, "-o", options)

    def stop(self) -> None:
        self._call("pg_ctl", "stop", "-w", "-s", "-m", "immediate")

    def url(self, database: str) -> str:
        return f"postgresql+psycopg2://course@/{database}?host={self._folder}"

    def new(self, template: str = "template1") -> str:
        """The URL of a new database, empty or a copy of another one."""
        import psycopg2

        name = f"book{next(self._numbers)}"
        connection = psycopg2.connect(
            host=str(self._folder), user="course", dbname="postgres"
        )
        connection.autocommit = True  # CREATE DATABASE takes no transaction
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        connection.close()
        return self.url(name)


def _is_user(name: str) -> bool:
    return name in {entry.pw_name for entry in pwd.getpwall()}


def _tools() -> Path | None:
    """Debian keeps PostgreSQL's server tools off the PATH."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += map(Path, sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True))
    return next((p for p in places if (p / "pg_ctl").exists()), None)


@pytest.fixture(scope="session")
def postgres():
    """A running cluster; ``postgres.new()`` makes a database."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    if (tools := _tools()) is None:
        pytest.skip("PostgreSQL is not installed: `apt-get install postgresql`.")
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a short socket path
    cluster = None
    try:
        cluster = Cluster(tools, folder)
        yield cluster
    finally:
        if cluster is not None:
            cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
