"""A disk that fails: no side effect without its record, one clear error, and the engine goes on when the disk does.

A sample; `nox -s sweep -- disk` lets every operation fail that there is.
"""

from __future__ import annotations

import errno

import disk_sweep
import pytest
from disk_sweep import Fault


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory):
    library = disk_sweep.compiled(tmp_path_factory.mktemp("disk"))
    if library is None:
        pytest.skip("no C compiler, or not Linux")
    return library


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("write", 40, errno.ENOSPC, stays=True), {"full", "io"}),
        (Fault("sync", 8, errno.EIO, stays=True), {"io"}),
        (Fault("open", 4, errno.EACCES, stays=True), {"io", "read_only"}),
    ],
    ids=["full", "sync", "open"],
)
def test_what_an_engine_makes_of_it(library, tmp_path, fault: Fault, reason) -> None:
    found = disk_sweep.tried(library, tmp_path, fault)

    assert [] == disk_sweep.wrong(found), found
    (error,) = found["errors"]
    assert error[1] in reason
