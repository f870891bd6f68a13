# SPDX-License-Identifier: GPL-2.0-or-later
"""Panels in the house style: every one has a title, a description, a unit and a legend.

The SDK leaves three things to its user that these functions see to: it hides legends unless they
are set up, it gives no reference ids to queries, and none to panels (board.py does that).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SECONDS, SHARE, PER_SECOND, PLAIN = "s", "percentunit", "ops", "short"
BYTES, BYTES_PER_SECOND = "bytes", "binBps"
DATASOURCE = common_models.DataSourceRef(type_val="prometheus", uid="$datasource")
GREEN, ORANGE, RED = "green", "orange", "red"

AnyPanel = TypeVar(
    "AnyPanel", timeseries.Panel, stat.Panel, bargauge.Panel, heatmap.Panel, table.Panel
)

Limits = Sequence[float]
"""Up to two values: from the first on a number is orange, from the second on red."""


@dataclass(frozen=True)
class Query:
    """A PromQL expression and how its series are called."""

    expr: str
    legend: str = ""
    exemplars: bool = False


@dataclass(frozen=True)
class About:
    """What every panel has."""

    title: str
    description: str
    unit: str
    width: int = 12
    height: int = 8


@dataclass(frozen=True)
class Columns:
    """How a table is made of instant queries.

    `labels` are the labels that are shown, with their headings; `values` the headings of the
    queries' values, and their units; the table is sorted by `sort`, largest first.
    """

    labels: dict[str, str]
    values: dict[str, str]
    sort: str = ""
    limits: dict[str, Limits] = field(default_factory=dict)


def _queries(
    queries: Sequence[Query], instant: bool, form: PromQueryFormat
) -> list[Builder[Dataquery]]:
    found: list[Builder[Dataquery]] = []
    for letter, query in zip("ABCDEFGHIJ", queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).ref_id(letter).format(form)
        target.datasource(DATASOURCE).legend_format(query.legend or "__auto")
        if query.exemplars:
            target.exemplar(True)
        found.append(target.instant() if instant else target.range())
    return found


def thresholds(limits: Limits) -> dashboard.ThresholdsConfig:
    """Green, then orange and red from the limits on."""
    colours = (ORANGE, RED) if len(limits) > 1 else (RED,)
    steps = [models.Threshold(value=None, color=GREEN)]
    steps += [models.Threshold(value=v, color=c) for v, c in zip(limits, colours, strict=False)]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def graph(
    about: About,
    *queries: Query,
    stacked: bool = False,
    log: bool = False,
    limits: Limits = (),
    most: float | None = None,
) -> timeseries.Panel:
    """Lines over time, or stacked areas; `limits` are drawn as dashed lines."""
    panel = (
        timeseries.Panel()
        .targets(_queries(queries, False, PromQueryFormat.TIME_SERIES))
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(common_models.LegendDisplayMode.TABLE)
            .placement(common_models.LegendPlacement.BOTTOM)
            .calcs(["mean", "max", "lastNotNull"])
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .line_width(1)
        .fill_opacity(60 if stacked else 10)
        .show_points(common_models.VisibilityMode.NEVER)
        .thresholds(thresholds(limits))
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if log:
        scale = common.ScaleDistributionConfig().type(common_models.ScaleDistribution.LOG).log(10)
        panel.scale_distribution(scale)
    else:
        panel.min(0)
    if limits:
        style = common.GraphThresholdsStyleConfig()
        panel.thresholds_style(style.mode(common_models.GraphThresholdsStyleMode.DASHED))
    if most is not None:
        panel.max(most)
    return _dressed(panel, about)


def number(about: About, query: Query, limits: Limits = (), empty: str = "-") -> stat.Panel:
    """One number with its recent course behind it."""
    colour = common_models.BigValueColorMode
    panel = (
        stat.Panel()
        .targets(_queries([query], False, PromQueryFormat.TIME_SERIES))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .graph_mode(common_models.BigValueGraphMode.AREA)
        .color_mode(colour.VALUE if limits else colour.NONE)
        .thresholds(thresholds(limits))
        .no_value(empty)
    )
    return _dressed(panel, about)


def ranking(about: About, query: Query, limits: Limits = ()) -> bargauge.Panel:
    """The largest of something as bars, now."""
    panel = (
        bargauge.Panel()
        .targets(_queries([query], True, PromQueryFormat.TIME_SERIES))
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .legend(common.VizLegendOptions().show_legend(False))
        .min(0)
        .thresholds(thresholds(limits))
    )
    if not limits:
        panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.CONTINUOUS_BL_YL_RD))
    return _dressed(panel, about)


def density(about: About, query: Query) -> heatmap.Panel:
    """A histogram over time: a column for each step, a cell for each bucket."""
    panel = (
        heatmap.Panel()
        .targets(_queries([query], False, PromQueryFormat.HEATMAP))
        .calculate(False)
        .show_legend()
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_models.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .scale(heatmap_models.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit(about.unit))
        .cell_values(heatmap.CellValues().unit(PER_SECOND))
        .tooltip(heatmap.HeatmapTooltip().mode(common_models.TooltipDisplayMode.SINGLE))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
    )
    return _dressed(panel, about)


def grid(about: About, columns: Columns, *queries: Query) -> table.Panel:
    """A table: a line for each combination of labels, a column for each query's value."""
    several = len(queries) > 1
    values = [f"Value #{letter}" if several else "Value" for letter in "ABCDEFGH"[: len(queries)]]
    names = dict(zip(values, columns.values, strict=True))
    shown = [*columns.labels, *values]
    organize = {
        "indexByName": {name: index for index, name in enumerate(shown)},
        "renameByName": {**columns.labels, **names},
    }
    panel = (
        table.Panel()
        .targets(_queries(queries, True, PromQueryFormat.TABLE))
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="filterFieldsByName", options={"include": {"names": shown}}
            )
        )
        .with_transformation(models.DataTransformerConfig(id_val="organize", options=organize))
        .thresholds(thresholds(()))
    )
    for heading, unit in columns.values.items():
        properties = [models.DynamicConfigValue(id_val="unit", value=unit)]
        if heading in columns.limits:
            properties += _coloured(columns.limits[heading])
        panel.override_by_name(heading, properties)
    if columns.sort:
        panel.sort_by([common.TableSortByFieldState().display_name(columns.sort).desc(True)])
    return _dressed(panel, about)


def matrix(about: About, row: str, column: str, heading: str, query: Query) -> table.Panel:
    """A table with a line for each value of one label and a column for each of another.

    `heading` is that of the first column.
    """
    options = {"rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "zero"}
    panel = (
        table.Panel()
        .targets(_queries([query], True, PromQueryFormat.TABLE))
        .with_transformation(
            models.DataTransformerConfig(id_val="groupingToMatrix", options=options)
        )
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize", options={"renameByName": {rf"{row}\{column}": heading}}
            )
        )
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.CONTINUOUS_BL_YL_RD))
        .cell_options(common_models.TableColoredBackgroundCellOptions())
        .min(0)
        .thresholds(thresholds(()))
    )
    return _dressed(panel, about)


def _coloured(limits: Limits) -> list[models.DynamicConfigValue]:
    return [
        models.DynamicConfigValue(id_val="thresholds", value=thresholds(limits).build()),
        models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
    ]


def _dressed(panel: AnyPanel, about: About) -> AnyPanel:
    panel.title(about.title).description(about.description).unit(about.unit)
    panel.datasource(DATASOURCE).span(about.width).height(about.height)
    return panel
