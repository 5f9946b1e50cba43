"""A report's folder: the rows it is made of, tables, figures, and pages that show all."""

from collections.abc import Sequence
from pathlib import Path

from ml.evaluation.report.curves import LearningCurve, curves_to_csv
from ml.evaluation.report.detail_tables import grades_table
from ml.evaluation.report.figures import save_figure
from ml.evaluation.report.html import report_page
from ml.evaluation.report.plan import ReportPlan
from ml.evaluation.report.sections import Section, comparison_section, is_only_named
from ml.evaluation.report.summary import report_summary
from ml.evaluation.rows import CaseScore, write_rows
from ml.grading import StructureGrades

PAGE = "report.md"
HTML_PAGE = "report.html"
SUMMARY_FILE = "summary.json"
ROWS_FILE = "rows.csv"
EPOCHS_FILE = "epochs.csv"


def write_report(
    folder: Path,
    rows: Sequence[CaseScore],
    plan: ReportPlan,
    grades: Sequence[StructureGrades] = (),
    curves: Sequence[LearningCurve] = (),
) -> Path:
    """Write tables (csv, md) and figures (svg, png) of every comparison; return the page.

    The page is Markdown beside its figures; report.html shows the same in one file, and
    summary.json holds the numbers for programs. Equal rows, plans and curves give equal files.

    Args:
        folder: made if it is not there; files of the same names are replaced.
        rows: of all runs and parts the plan names.
        plan: what is compared.
        grades: of a reader study, if there was one.
        curves: how runs learned, if that is to be shown; of any runs and seeds.

    Raises:
        ReportError: a run of the plan has no row on one of its parts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / ROWS_FILE, rows)
    if curves:
        _write(folder / EPOCHS_FILE, curves_to_csv(curves))
    sections = [comparison_section(rows, own, curves) for own in plan.comparisons]
    if grades:
        sections.append(Section(name="grades", title="", tables=(grades_table(grades),)))
    svg: dict[str, bytes] = {}
    page = [f"# {plan.title}", ""]
    for section in sections:
        page += [f"## {section.title}", ""] if section.title else []
        page += _write_tables(folder, section)
        page += _write_figures(folder, section, svg)
    _write(folder / HTML_PAGE, report_page(plan.title, sections, svg))
    _write(folder / SUMMARY_FILE, report_summary(rows, plan))
    return _write(folder / PAGE, "\n".join(page).rstrip("\n") + "\n")


def _write_tables(folder: Path, section: Section) -> list[str]:
    """Write tables and return their place on the page; the longest is only linked."""
    page: list[str] = []
    for table in section.tables:
        text = table.to_markdown()
        file = _write(folder / f"{table.name}.csv", table.to_csv()).name
        _write(folder / f"{table.name}.md", text)
        page.append(f"All statistics: [{file}]({file})\n" if is_only_named(table) else text)
    return page


def _write_figures(folder: Path, section: Section, svg: dict[str, bytes]) -> list[str]:
    """Write figures, add them to those of the report, and return their place on the page."""
    page: list[str] = []
    for figure in section.figures:
        vectors, pixels = save_figure(figure.draw, folder, figure.stem)
        svg[figure.stem] = vectors.read_bytes()
        page.append(f"![{figure.caption}]({pixels.name})\n")
    return page


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
