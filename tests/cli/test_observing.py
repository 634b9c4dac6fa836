"""Which site an option ``--site`` of a command that only looks means."""

from pathlib import Path

import pytest

from schemas.errors import InputError
from sites.loader.template import write_template
from twinswarm.cli.observing import site_id


def test_a_folder_with_a_description_is_not_taken_for_an_identifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_template(Path("mysite"))
    assert site_id("mysite") == site_id("mysite/site.yaml") == "my-site"
    assert site_id(str(tmp_path / "mysite")) == "my-site"


def test_a_name_without_a_description_is_an_identifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab").mkdir()
    assert site_id("lab") == "lab"
    assert site_id("fit_g2v") == "fit-g2v"
    with pytest.raises(InputError, match="no such file"):
        site_id("no/such")
