"""A report as one page of HTML that needs no other file, no script and no network."""

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape

from ml.evaluation.report.sections import ReportFigure, Section, is_only_named
from ml.evaluation.report.tables import Table

STYLE = """\
:root { color-scheme: light; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1a1a1a; background: #fff;
  font: 15px/1.45 system-ui, "Segoe UI", "DejaVu Sans", Arial, sans-serif; }
h1 { font-size: 1.7rem; }
h2 { font-size: 1.3rem; margin-top: 2.5rem; border-bottom: 2px solid #0072b2; }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; }
.wide { overflow-x: auto; margin: 1.5rem 0 .3rem; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; white-space: nowrap; }
th, td { padding: .2rem .6rem; text-align: left; vertical-align: top; }
th { border-top: 2px solid #1a1a1a; border-bottom: 1px solid #1a1a1a; }
td { border-bottom: 1px solid #ddd; }
.number { text-align: right; white-space: nowrap; }
.note { margin: .2rem 0 0; font-size: .82rem; color: #444; max-width: 60rem; }
figure { margin: 1.5rem 0; break-inside: avoid; }
img { max-width: 100%; height: auto; }
figcaption { font-size: .82rem; color: #444; }
@page { size: A4; margin: 14mm; }
@media print {
  body { margin: 0; padding: 0; max-width: none; font-size: 9.5pt; }
  nav { display: none; }
  h2, caption { break-after: avoid; }
  .wide { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding: .1rem .3rem; white-space: normal; }
  thead { display: table-header-group; }
  tr { break-inside: avoid; }
}
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser may load for the page: nothing that is not in it."""
_NUMBER = re.compile(r"(< |-)?\d.*|-|nan|inf|", re.DOTALL)
"""How a cell of a column of numbers may look; behind the number stand spread, interval or unit."""


def report_page(title: str, sections: Sequence[Section], svg: Mapping[str, bytes]) -> str:
    """Return the page; every text is escaped, every figure is in it.

    Args:
        title: of the report.
        sections: in the order of the page.
        svg: the figures by their stems.
    """
    named = [section for section in sections if section.title]
    links = (f'<li><a href="#{escape(s.name)}">{escape(s.title)}</a></li>' for s in named)
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{STYLE}</style>",
        "</head>",
        "<body>",
        f"<h1>{escape(title)}</h1>",
    ]
    if len(named) > 1:
        parts.append(f"<nav><ul>{''.join(links)}</ul></nav>")
    for section in sections:
        parts += _section(section, svg)
    return "\n".join([*parts, "</body>", "</html>"]) + "\n"


def _section(section: Section, svg: Mapping[str, bytes]) -> list[str]:
    heading = [f'<h2 id="{escape(section.name)}">{escape(section.title)}</h2>']
    return [
        "<section>",
        *(heading if section.title else []),
        *(_table(table) for table in section.tables),
        *(_figure(figure, svg[figure.stem]) for figure in section.figures),
        "</section>",
    ]


def _table(table: Table) -> str:
    if is_only_named(table):
        return f'<p class="note">All statistics: {escape(table.name)}.csv</p>'
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.header)
    classes = [' class="number"' if _is_numeric(column) else "" for column in columns]
    head = _cells("th", table.header, [f' scope="col"{kind}' for kind in classes])
    body = "\n".join(_cells("td", row, classes) for row in table.rows)
    note = f'\n<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<div class="wide"><table>\n<caption>{escape(table.title)}</caption>\n'
        f"<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table></div>{note}"
    )


def _cells(tag: str, cells: Sequence[str], attributes: Sequence[str]) -> str:
    marked = zip(cells, attributes, strict=True)
    return f"<tr>{''.join(f'<{tag}{kind}>{escape(cell)}</{tag}>' for cell, kind in marked)}</tr>"


def _is_numeric(cells: Sequence[str]) -> bool:
    return any(cells) and all(_NUMBER.fullmatch(cell) for cell in cells)


def _figure(figure: ReportFigure, svg: bytes) -> str:
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    caption = escape(figure.caption)
    return (
        f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    )
