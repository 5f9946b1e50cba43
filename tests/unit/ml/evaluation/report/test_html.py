import base64
import re
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from ml.evaluation.report.html import report_page
from ml.evaluation.report.sections import ReportFigure, Section
from ml.evaluation.report.tables import Table

EVIL = "<script>alert('1')</script> & \"co\""
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"


def make_table(name: str = "a_table", **values) -> Table:
    known = {
        "title": "Scores",
        "header": ("Run", "DSC", "p"),
        "rows": (("first", "0.860 ± 0.017#", "< 0.001"), ("3 mm", "0.5 [0.4, 0.6]", "-")),
        "note": "Means.",
    }
    return Table(name=name, **(known | values))


def make_section(title: str = "A", tables: tuple[Table, ...] = (), name: str = "a") -> Section:
    figure = ReportFigure(stem=f"{name}_figure", caption=f"{title}, figure", draw=Figure)
    return Section(name=name, title=title, tables=tables or (make_table(),), figures=(figure,))


def page(*sections: Section, title: str = "Report") -> str:
    return report_page(title, sections, {f.stem: SVG for s in sections for f in s.figures})


class Reader(HTMLParser):
    """Reads a page, and fails where an element is not closed in its turn."""

    VOID = frozenset({"meta", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1], data))

    def text_in(self, tag: str) -> list[str]:
        return [text for own, text in self.texts if own == tag]


class TestReportPage:
    def test_it_shows_every_table_and_figure(self):
        read = Reader(page(make_section()))

        assert read.text_in("h1") == ["Report"]
        assert read.text_in("h2") == ["A"]
        assert read.text_in("caption") == ["Scores"]
        assert read.text_in("th") == ["Run", "DSC", "p"]
        assert read.text_in("td")[:3] == ["first", "0.860 ± 0.017#", "< 0.001"]
        assert read.text_in("p") == ["Means."]
        [image] = [attributes for tag, attributes in read.elements if tag == "img"]
        kind, _, content = str(image["src"]).partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert base64.b64decode(content) == SVG

    def test_nothing_is_loaded_or_run(self):
        read = Reader(page(make_section(), make_section(name="b")))

        assert {"script", "link", "iframe", "object"}.isdisjoint(tag for tag, _ in read.elements)
        targets = [a[name] for _, a in read.elements for name in ("src", "href") if name in a]
        assert targets
        assert all(str(target).startswith(("data:", "#")) for target in targets)
        assert not re.search(r"url\(|@import|https?:", page(make_section()))
        policy = [a["content"] for _, a in read.elements if "http-equiv" in a]
        assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]

    def test_every_text_is_escaped(self):
        table = make_table(title=EVIL, header=(EVIL, "b", "c"), rows=((EVIL, "1", "2"),), note=EVIL)
        statistics = make_table(name=f"{EVIL}_statistics")

        text = page(make_section(EVIL, (table, statistics), name=EVIL), title=EVIL)

        read = Reader(text)
        assert "<script" not in text
        for tag in ("title", "h1", "h2", "caption", "th", "td", "figcaption"):
            assert any(EVIL in found for found in read.text_in(tag)), tag
        alternatives = [a["alt"] for tag, a in read.elements if tag == "img"]
        assert alternatives == [f"{EVIL}, figure"]
        assert [a["id"] for tag, a in read.elements if tag == "h2"] == [EVIL]

    def test_columns_of_numbers_are_aligned_to_the_right(self):
        read = Reader(page(make_section()))

        classes = [attributes.get("class") for tag, attributes in read.elements if tag == "th"]
        assert classes == [None, "number", "number"]

    def test_the_longest_table_is_only_named(self):
        read = Reader(page(make_section(tables=(make_table(name="a_statistics"),))))

        assert read.text_in("td") == []
        assert read.text_in("p") == ["All statistics: a_statistics.csv"]

    @pytest.mark.parametrize("rows", [(), (("", "", ""),)])
    def test_a_table_without_a_value_is_shown(self, rows):
        assert Reader(page(make_section(tables=(make_table(rows=rows),)))).text_in("td") == []

    def test_several_comparisons_have_links_to_each(self):
        read = Reader(page(make_section("A"), make_section("B", name="b")))

        links = [attributes["href"] for tag, attributes in read.elements if tag == "a"]
        assert links == ["#a", "#b"]
        assert read.text_in("a") == ["A", "B"]
