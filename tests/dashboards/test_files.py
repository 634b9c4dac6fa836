"""What is checked in is what the code makes, and what Grafana and the SDK take."""

import json
import re
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from services import dashboards
from services.dashboards.source import rendered
from services.dashboards.source.query import FluxQuery, register
from tests.dashboards.as_grafana import Json, panels
from twinswarm.cli import main


def test_checked_in_dashboards_are_what_the_code_makes() -> None:
    checked_in = {
        path.removeprefix("dashboards/twinswarm/"): content.decode()
        for path, content in dashboards.files().items()
        if path.endswith(".json")
    }
    # To write them: python -m services.dashboards.source
    assert rendered() == checked_in


def test_sdk_reads_a_dashboard_back_as_it_was_written(dashboards: dict[str, Json]) -> None:
    register_default_plugins()
    register()
    for name, content in dashboards.items():
        decoded = Dashboard.from_json(content)
        assert json.loads(json.dumps(decoded, cls=JSONEncoder)) == content, name
        for panel in decoded.panels or []:
            assert all(isinstance(target, FluxQuery) for target in panel.targets), panel.title


def test_dashboards_have_names_of_their_own_and_link_one_another(dashboards: dict[str, Json]) -> None:
    for key in ("uid", "title"):
        assert len({dashboard[key] for dashboard in dashboards.values()}) == len(dashboards)
    for dashboard in dashboards.values():
        assert dashboard["description"]
        assert not dashboard["editable"]
        (link,) = dashboard["links"]
        assert link["type"] == "dashboards" and set(link["tags"]) <= set(dashboard["tags"])
        assert link["includeVars"] and link["keepTime"]


def test_every_link_leads_to_a_dashboard_with_the_variables_that_it_gives(dashboards: dict[str, Json]) -> None:
    variables = {
        dashboard["uid"]: {variable["name"] for variable in dashboard["templating"]["list"]}
        for dashboard in dashboards.values()
    }
    urls = re.findall(r'"url": "(/d/[^"]+)"', json.dumps(dashboards))
    assert len(urls) >= 5
    for url in urls:
        uid, _, query = url.removeprefix("/d/").partition("?")
        given = set(re.findall(r"var-(\w+)=", query)) | set(re.findall(r"\$\{(\w+):queryparam\}", query))
        assert given and given <= variables[uid], url
        assert "from=" in query or "${__url_time_range}" in query, url


def test_every_panel_says_what_it_shows_in_which_unit(dashboards: dict[str, Json]) -> None:
    for dashboard in dashboards.values():
        found = list(panels(dashboard))
        assert len({panel["title"] for panel in found}) == len(found)
        assert len({panel["id"] for panel in found}) == len(found)
        for panel in found:
            assert panel["title"] and panel["description"].endswith("."), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert panel["targets"], panel["title"]
            references = [target["refId"] for target in panel["targets"]]
            assert len(set(references)) == len(references)
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {"twinswarm"}


def test_no_panel_reaches_beyond_the_24_columns_of_a_page(dashboards: dict[str, Json]) -> None:
    for dashboard in dashboards.values():
        for panel in panels(dashboard):
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]


def test_one_thing_has_one_colour_on_all_dashboards(dashboards: dict[str, Json]) -> None:
    colours: dict[str, set[str]] = {}
    for dashboard in dashboards.values():
        for panel in panels(dashboard):
            for override in panel["fieldConfig"]["overrides"]:
                for told in override["properties"]:
                    if told["id"] == "color":
                        colours.setdefault(override["matcher"]["options"], set()).add(told["value"]["fixedColor"])
    assert colours["PCC"] and colours["/^charger /"]
    assert {name: found for name, found in colours.items() if len(found) > 1} == {}


def test_data_source_asks_in_flux_with_the_token_of_a_file() -> None:
    (source,) = yaml.safe_load(dashboards.files()["datasources/twinswarm.yaml"])["datasources"]
    assert (source["type"], source["uid"], source["url"]) == ("influxdb", "twinswarm", "http://influxdb:8086")
    assert source["jsonData"] == {
        "version": "Flux",
        "organization": "twinswarm",
        "defaultBucket": "twinswarm-simulated",
    }
    assert source["secureJsonData"] == {"token": "$__file{/run/secrets/twinswarm/token}"}


def test_provider_points_to_where_the_dashboards_are() -> None:
    found = dashboards.files()
    (provider,) = yaml.safe_load(found["dashboards/twinswarm.yaml"])["providers"]
    folder = provider["options"]["path"]
    assert folder == "/run/secrets/twinswarm/provisioning/dashboards/twinswarm"
    below = folder.removeprefix("/run/secrets/twinswarm/provisioning/")
    assert sum(path.startswith(f"{below}/") for path in found) == 7


def test_command_writes_them_for_a_grafana_of_ones_own(tmp_path: Path) -> None:
    out = tmp_path / "provisioning"
    options = ["--influx", 'https://history:8086/"x"', "--org", "mine$", "--bucket", "b", "--token-path", "/etc/token"]
    with pytest.raises(SystemExit) as end:
        main(["dashboards", "--out", str(out), "--path", "/etc/grafana/provisioning", *options])
    assert not end.value.code
    (source,) = yaml.safe_load((out / "datasources/twinswarm.yaml").read_text())["datasources"]
    assert source["url"] == 'https://history:8086/"x"'
    # Grafana reads $$ as $.
    assert source["jsonData"]["organization"] == "mine$$"
    assert source["jsonData"]["defaultBucket"] == "b-simulated"
    assert source["secureJsonData"] == {"token": "$__file{/etc/token}"}
    (provider,) = yaml.safe_load((out / "dashboards/twinswarm.yaml").read_text())["providers"]
    assert provider["options"]["path"] == "/etc/grafana/provisioning/dashboards/twinswarm"
    assert len(list((out / "dashboards/twinswarm").glob("*.json"))) == 7


def test_command_names_a_folder_that_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as end:
        main(["dashboards", "--out", str(tmp_path / "file")])
    assert end.value.code == 2
    assert "--out" in capsys.readouterr().err
