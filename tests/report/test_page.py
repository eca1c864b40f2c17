"""The page: its structure, what it embeds, and that no name can break out of its place."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivesigma.core.errors import ConfigError, OutputError
from fivesigma.report import SECTIONS, Number, Section, Table, Text, WorkingPoints, section, write_report
from fivesigma.report.page import script_json, slider_data, table_cell

VOID = {"meta", "link", "img", "input", "br"}
BIGGEST_PAGE = 6_000_000  # bytes


class Page(HTMLParser):
    """All elements of a page as (tag, attributes), and the text inside each kind of element; checks that tags nest."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]

    def text_in(self, tag: str) -> list[str]:
        return [text for found, text in self.texts if found == tag]


@pytest.fixture(scope="module")
def page(report_page: Path) -> Page:
    return Page(report_page)


@pytest.fixture(scope="module")
def hostile(hostile_page: Path) -> Page:
    return Page(hostile_page)


def test_sections_stand_in_the_physicists_order_under_one_title(page: Page) -> None:
    assert page.open == []
    assert page.text_in("h1") == ["W tagging"]
    assert page.text_in("h2") == list(SECTIONS.values())
    assert [s["id"] for s in page.all("section")] == list(SECTIONS)
    assert [a["href"] for a in page.all("a")][1 : 1 + len(SECTIONS)] == [f"#{anchor}" for anchor in SECTIONS]


def test_every_figure_has_a_text_alternative_and_is_embedded(page: Page) -> None:
    images = page.all("img")
    assert len(images) == 5
    for image in images:
        assert image["alt"]
        assert re.match(r"data:image/(svg\+xml|png);base64,", image["src"] or "")


def test_nothing_is_loaded_from_elsewhere(page: Page, report_page: Path) -> None:
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "poster", "data", "xlink:href"):
            address = attributes.get(name) or ""
            if re.match(r"(https?:)?//", address):
                assert (tag, name) == ("a", "href")
                assert address.startswith("https://arxiv.org/")
    for style in page.text_in("style"):
        assert "url(" not in style
        assert "@import" not in style
    assert report_page.stat().st_size < BIGGEST_PAGE


def test_only_the_pages_own_script_and_style_may_run(page: Page) -> None:
    (policy,) = [m["content"] or "" for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "img-src data:" in policy
    assert "unsafe" not in policy
    assert re.search(r"script-src 'sha256-[\w+/=]+'", policy)


def test_tables_name_their_rows_and_columns(page: Page) -> None:
    assert {header["scope"] for header in page.all("th")} == {"row", "col"}
    assert len(page.all("caption")) == len(page.all("table")) == 2
    assert "0.9123 ± 0.0021" in page.text_in("td")


def test_ids_are_unique(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_links_to_the_figures_files_lead_to_files(page: Page, report_page: Path) -> None:
    files = [a["href"] or "" for a in page.all("a") if (a["href"] or "").startswith("figures/")]
    assert len(files) == 4 * len(page.all("img"))
    for file in files:
        assert (report_page.parent / file).stat().st_size > 100


def test_hostile_names_add_no_element_and_no_attribute(page: Page, hostile: Page) -> None:
    assert hostile.open == []
    assert {tag for tag, _ in hostile.elements} <= {tag for tag, _ in page.elements} | {"ul", "li"}
    assert not [a for _, a in hostile.elements if any(name.startswith("on") for name in a)]
    assert [s.get("type") for s in hostile.all("script")] == ["application/json", None]
    assert all((image["src"] or "").startswith("data:image/") for image in hostile.all("img"))
    assert hostile.text_in("h1") == ["<script>alert(1)</script>"]
    assert "{{ 7*7 }}" in "".join(hostile.text_in("h2"))


def test_hostile_names_survive_in_the_sliders_data(hostile: Page) -> None:
    data = json.loads(hostile.text_in("script")[0])
    assert data["curves"][0]["model"] == "<script>alert(1)</script>"


@settings(deadline=None, max_examples=100)
@given(st.text() | st.sampled_from(["</script>", "<!--", "]]>", "\u2028\u2029", "&lt;"]))
def test_script_data_holds_nothing_that_ends_the_script_and_reads_back(text: str) -> None:
    written = str(script_json({text: [text]}))
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == {text: [text]}


def test_slider_points_are_points_of_the_curve(hostile: Page) -> None:
    for curve in json.loads(hostile.text_in("script")[0])["curves"]:
        assert len(curve["threshold"]) == 100
        assert curve["signal_efficiency"] == sorted(curve["signal_efficiency"])


def test_long_curves_are_thinned_without_interpolation() -> None:
    grid = np.linspace(0.0, 1.0, 5001)[1:]

    class Curve:
        signal_efficiency = grid
        background_efficiency = grid**3
        background_efficiency_low = grid**3 * 0.9
        background_efficiency_high = grid**3 * 1.1
        threshold = np.append(np.inf, 1 - grid[1:])

    (curve,) = slider_data(WorkingPoints({"toy": Curve()}))["curves"]
    assert len(curve["threshold"]) <= 401
    assert curve["threshold"][0] is None
    assert curve["signal_efficiency"][-1] == 1.0
    for s, b in zip(curve["signal_efficiency"], curve["background_efficiency"], strict=True):
        assert np.abs(grid - s).min() < 1e-6
        assert b == pytest.approx(s**3, rel=1e-4)


def test_cells_are_rounded_by_their_uncertainty() -> None:
    assert table_cell(Number(12.3456, 0.123)).text == "12.35 ± 0.12"
    assert table_cell(Number(12.3456)).text == "12.35"
    assert (table_cell(True).text, table_cell(10_000).text) == ("yes", "10\u202f000")


def test_provenance_is_added_last_unless_it_is_there(tmp_path: Path) -> None:
    given_facts = {"commit": "abc", "versions": {"numpy": "2.0"}, "seed": 20261122, "extent": 1.25}
    page = Page(write_report(tmp_path / "a.html", "T", [section("summary", Text("one"))], given_facts))
    assert page.text_in("h2") == ["Summary", "Provenance"]
    assert {"abc", "2.0", "20261122", "1.25"} <= set(page.text_in("dd"))  # as given, not rounded
    own = [section("provenance", Text("mine")), section("summary")]
    assert Page(write_report(tmp_path / "b.html", "T", own, given_facts)).text_in("h2") == ["Provenance", "Summary"]


def test_two_sections_or_plots_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="section anchor 'summary'"):
        write_report(tmp_path / "r.html", "T", [section("summary"), section("summary")])
    assert not (tmp_path / "r.html").exists()


def test_blocks_refuse_what_they_cannot_show() -> None:
    with pytest.raises(ConfigError, match="must be an https:// address"):
        Text("see", (("here", "javascript:alert(1)"),))
    with pytest.raises(ConfigError, match="expected 2 cells"):
        Table("t", ("a", "b"), ((1,),))
    with pytest.raises(ConfigError, match="cannot be a section's anchor"):
        Section("T", '"><b>', ())
    with pytest.raises(ConfigError, match="no section 'sumary'; known: summary"):
        section("sumary")
    with pytest.raises(ConfigError, match="at least one model"):
        WorkingPoints({})


def test_a_page_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_report(tmp_path / "file" / "report.html", "T", [])


def test_the_same_sections_give_the_same_page(tmp_path: Path) -> None:
    first = write_report(tmp_path / "1" / "r.html", "T", [section("summary", Text("x"))], {"seed": 1})
    second = write_report(tmp_path / "2" / "r.html", "T", [section("summary", Text("x"))], {"seed": 1})
    assert first.read_bytes() == second.read_bytes()
