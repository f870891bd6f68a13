# SPDX-License-Identifier: GPL-2.0-or-later
"""What all dashboards share: variables, links to each other, rows, numbering, JSON.

Rule: the JSON depends on nothing but this source: no time, no random id, keys sorted.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from exporters import names
from grafana.panels import DATASOURCE
from grafana.promql import Series

TAG = "bqlscope"
Panels = Sequence[Builder[models.Panel]]
ALL = models.VariableOption(selected=True, text="All", value="$__all")


@dataclass(frozen=True)
class Row:
    """A row of panels under a heading."""

    title: str
    panels: Panels


@dataclass(frozen=True)
class Board:
    """A dashboard. `uid` is its name everywhere: in addresses, files and links.

    `listed_by` is a series that every target has, for the lists of jobs and instances.
    """

    uid: str
    title: str
    description: str
    variables: Sequence[Builder[models.VariableModel]]
    rows: Sequence[Row]
    listed_by: Series = names.BUILD

    @property
    def file_name(self) -> str:
        """Name of its JSON file."""
        return f"{self.uid}.json"

    def build(self) -> models.Dashboard:
        """The SDK's model, with numbered panels."""
        builder = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags([TAG])
            .readonly()
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .time("now-30m", "now")
            .refresh("30s")
            .timezone("browser")
            .variables([*_everywhere(self.listed_by), *self.variables])
            .link(_links())
        )
        for row in self.rows:
            builder.with_row(dashboard.Row(row.title))
            for panel in row.panels:
                builder.with_panel(panel)
        built = builder.build()
        for number, placed in enumerate(built.panels or (), 1):
            placed.id_val = number
        for link in built.links or ():
            link.placement = None  # type: ignore[assignment]  # visible, not in a menu
        return built

    def text(self) -> str:
        """The JSON file."""
        return json.dumps(self.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def choice(
    name: str, series: Series, *more: str, label: str = "", from_label: str = ""
) -> dashboard.QueryVariable:
    """A variable with the values that a label of a series has; several can be chosen.

    `more` are matchers besides those for job and instance.
    """
    matchers = ", ".join(('job=~"$job"', 'instance=~"$instance"', *more))
    query = f"label_values({series.name}{{{matchers}}}, {from_label or name})"
    return _values(name, query, label or name)


def one_of(
    name: str, label: str, series: Series, from_label: str, default: str
) -> dashboard.QueryVariable:
    """A variable with one value of a label, `default` to begin with."""
    selector = f'{series.name}{{job=~"$job", instance=~"$instance"}}'
    variable = _values(name, f"label_values({selector}, {from_label})", label)
    option = models.VariableOption(selected=True, text=default, value=default)
    return variable.multi(False).include_all(False).all_value("").current(option)


def _values(name: str, query: str, label: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"query": query, "refId": name})
        .definition(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(ALL)
    )


def _everywhere(series: Series) -> list[Builder[models.VariableModel]]:
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    job = _values("job", f"label_values({series.name}, job)", "job")
    query = f'label_values({series.name}{{job=~"$job"}}, instance)'
    return [source, job, _values("instance", query, "instance")]


def _links() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("bqlscope")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(False)
        .include_vars(True)
        .keep_time(True)
    )
