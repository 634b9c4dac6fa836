"""Common parts of all panels and dashboards."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

from services.dashboards.source import colours
from services.dashboards.source.flux import BY_DEVICE
from services.dashboards.source.query import DATA_SOURCE, FluxQuery

TAG = "twinswarm"
KW, KWH, EUR, SHARE, SECONDS, COUNT = "kwatt", "kwatth", "currencyEUR", "percentunit", "s", "short"
EUR_PER_KWH, PU, RATIO = "suffix: €/kWh", "suffix: pu", "none"
TEXT = "string"
TIME_MS = "dateTimeAsLocal"
"""Whole milliseconds since 1970."""
STEP = "1m"
"""The least distance of points: in wall time every device has told something new by then."""

_BEFORE, _AFTER = common.LineInterpolation.STEP_BEFORE, common.LineInterpolation.STEP_AFTER

Panel = timeseries.Panel | stat.Panel | table.Panel
Properties = list[models.DynamicConfigValue]


def chart(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[str],
    *,
    width: int = 12,
    height: int = 9,
    stacked: bool = False,
    bars: bool = False,
    decimals: int | None = None,
) -> timeseries.Panel:
    """Curves over time. A value holds from the point before it, unless `holds_from` says otherwise."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .unit(unit)
        .span(width)
        .height(height)
        .interval(STEP)
        .line_interpolation(_BEFORE)
        .show_points(common.VisibilityMode.NEVER)
        .line_width(0 if stacked else 1)
        .fill_opacity(70 if stacked or bars else 0)
        .draw_style(common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE)
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .targets(_targets(queries))
    )
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    if decimals is not None:
        panel.decimals(decimals)
    return _coloured(panel, "\n".join(queries))


def holds_from(panel: timeseries.Panel, *names: str) -> timeseries.Panel:
    """These series hold from their own point on: what is commanded, planned, priced."""
    for name in names:
        panel.override_by_name(name, [_property("custom.lineInterpolation", _AFTER.value)])
    return panel


def ends(panel: timeseries.Panel, after_ms: int, *names: str) -> timeseries.Panel:
    """These series end where the next point is farther away: what does not hold all the time."""
    for name in names:
        panel.override_by_name(
            name, [_property("custom.insertNulls", after_ms), _property("custom.showPoints", "always")]
        )
    return panel


def marks(panel: timeseries.Panel, *names: str) -> timeseries.Panel:
    """These series are limits: dashed, never part of a stack."""
    for name in names:
        panel.override_by_name(
            name,
            [
                _property("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
                _property("custom.lineInterpolation", "linear"),
                _property("custom.fillOpacity", 0),
                _property("custom.stacking", {"mode": "none"}),
            ],
        )
    return panel


def dots(panel: timeseries.Panel) -> timeseries.Panel:
    """Events: points without a line."""
    return panel.draw_style(common.GraphDrawStyle.POINTS).point_size(6)


def number(
    title: str,
    description: str,
    unit: str,
    query: str,
    *,
    width: int = 4,
    decimals: int = 1,
    worst: float | None = None,
    calculation: str = "lastNotNull",
) -> stat.Panel:
    """The last value, large. From ``worst`` on it is red."""
    steps = [models.Threshold(value=None, color=colours.GOOD if worst is not None else colours.LOAD)]
    if worst is not None:
        steps.append(models.Threshold(value=worst, color=colours.BAD))
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .unit(unit)
        .decimals(decimals)
        .span(width)
        .height(4)
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs([calculation]).values(False))
        .thresholds(builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
        .targets(_targets([query]))
    )


def rows(
    title: str,
    description: str,
    query: str,
    columns: Sequence[str],
    *,
    width: int = 24,
    height: int = 8,
    units: dict[str, str] | None = None,
    links: dict[str, Sequence[builders.DashboardLink]] | None = None,
    hidden: Sequence[str] = (),
) -> table.Panel:
    """A table of these columns, in this order. ``units`` and ``links`` are by column; only links use what is hidden."""
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .unit(TEXT)
        .span(width)
        .height(height)
        .filterable(True)
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={"indexByName": {column: place for place, column in enumerate(columns)}},
            )
        )
        .targets(_targets([query]))
    )
    for column, of_column in (units or {}).items():
        panel.override_by_name(column, [_property("unit", of_column)])
    for column, to in (links or {}).items():
        panel.override_by_name(column, [_property("links", [link.build() for link in to])])
    for column in hidden:
        panel.override_by_name(column, [_property("custom.hidden", True)])
    return panel


def states(panel: table.Panel, column: str, of: dict[str, str]) -> table.Panel:
    """Texts of a column with their colours."""
    options = {text: models.ValueMappingResult(color=colour, text=text) for text, colour in of.items()}
    return panel.override_by_name(
        column,
        [
            _property("mappings", [models.ValueMap(options=options)]),
            _property("custom.cellOptions", {"type": "color-text"}),
        ],
    )


def link(title: str, url: str) -> builders.DashboardLink:
    return builders.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url)


def to_dashboard(title: str, uid: str, **values: str) -> builders.DashboardLink:
    """A link that keeps the time range, and the choices that ``values`` (variable to template) does not make."""
    kept = [f"${{{name}:queryparam}}" for name in ("bucket", "site", "run") if name not in values]
    made = [f"var-{name}={value}" for name, value in values.items()]
    return link(title, f"/d/{uid}?{'&'.join(['${__url_time_range}', *kept, *made])}")


def dashboard(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[builders.QueryVariable],
    panels: Sequence[Panel | builders.Row],
    *,
    begin: str = "now-24h",
    refresh: str = "1m",
) -> models.Dashboard:
    """All of them are linked with one another, keep time range and choices, and cannot be changed by hand."""
    made = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .time(begin, "now")
        .timezone("browser")
        .refresh(refresh)
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .variables(list(variables))
        .link(
            builders.DashboardLink("twinswarm")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
            .as_dropdown(False)
        )
    )
    for number_, panel in enumerate(panels, 1):
        if isinstance(panel, builders.Row):
            made.with_row(panel.id(number_))
        else:
            made.with_panel(panel.id(number_))
    return made.build()


def _coloured(panel: timeseries.Panel, flux: str) -> timeseries.Panel:
    """Colours of the series that the Flux text names: the same thing has one colour on all dashboards."""
    for name, colour in colours.OF_SERIES.items():
        if f'"{name}"' in flux:
            panel.override_by_name(name, [_property("color", {"mode": "fixed", "fixedColor": colour})])
    if BY_DEVICE in flux:
        for kind, colour in colours.OF_KIND.items():
            panel.override_by_regexp(f"/^{kind} /", [_property("color", {"mode": "shades", "fixedColor": colour})])
    return panel


def _targets(queries: Sequence[str]) -> list[Builder[Dataquery]]:
    return [FluxQuery(query, chr(ord("A") + place)) for place, query in enumerate(queries)]


def _property(name: str, value: object) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val=name, value=value)
