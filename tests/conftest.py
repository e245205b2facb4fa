"""Every test starts seeded, with a progress folder of its own."""

import pytest


@pytest.fixture(autouse=True)
def _own_world(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path_factory.mktemp("home")))
    import tlcourse

    tlcourse.seed_everything(0)
