"""Writes results/report.html and results/report.md."""

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import click
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from toolgain import __version__
from toolgain.common import screen
from toolgain.common.characters import without_halves
from toolgain.common.files import read_bytes, write_text
from toolgain.config.sections import ReportSection
from toolgain.records.tables import TableComparison
from toolgain.report import glossary, markdown, wording
from toolgain.report.also import (
    AlsoLine,
    TablePage,
    also_measured,
    also_sentence,
    read_tables,
    table_page,
)
from toolgain.report.items import ItemData, embed
from toolgain.report.model import TONES, Page, chart_data, page
from toolgain.report.questions import BfclData
from toolgain.report.sources import RUNS_WITH_ITEMS, Sources, read_sources
from toolgain.report.training import contamination
from toolgain.report.trust import shown

HERE = Path(__file__).parent
ASSETS = HERE / "assets"

LIBRARIES = (
    ("D3", "d3.min.js", "d3.LICENSE"),
    ("Observable Plot", "plot.umd.min.js", "plot.LICENSE"),
)
SCRIPTS = ("core.js", "charts.js", "calls.js", "items.js")


def write_report(
    comparison: Path,
    results: Path,
    section: ReportSection,
    out: Path,
    also: Sequence[Path] = (),
    also_tables: Mapping[str, TableComparison] | None = None,
    data: BfclData | None = None,
) -> None:
    """Write the report of `comparison` to `out` (.html) and beside it as Markdown.

    The same inputs give the same bytes. A comparison of tables or groups has a page without the
    sections of BFCL.

    Args:
        also: comparisons of two tables each, shown as "also measured".
        also_tables: the same by name, where they were not written to a file.
        data: of BFCL, to show the items of plain harness folders; they are left out without.

    Raises:
        UserError: `comparison` is not a comparison. Whatever else is missing is said in the page.
    """
    if (tables := read_tables(comparison)) is not None:
        beside = also_measured(also, also_tables or {}, tables.alpha)
        plain = table_page(comparison, tables, beside, section.title)
        write_text(out, without_halves(_table_html(plain)))
        write_text(out.with_suffix(".md"), without_halves(markdown.table_text(plain)))
        click.echo(without_halves(f"report: {out}. {plain.sentence}"))
        return
    sources = read_sources(comparison, results, data)
    beside = also_measured(also, also_tables or {}, sources.comparison.alpha)
    content = page(sources, section.title, section.anchors)
    text = without_halves(markdown.text(content, beside))
    html = _html(content, sources, read_bytes(comparison), text, section.max_megabytes, beside)
    write_text(out, html)
    write_text(out.with_suffix(".md"), text)
    click.echo(
        without_halves(f"report: {out} ({out.stat().st_size / 1e6:.1f} MB). {content.sentence}")
    )


def _html(
    content: Page,
    sources: Sources,
    comparison: bytes,
    text: str,
    max_megabytes: float,
    also: tuple[AlsoLine, ...],
) -> str:
    sides = {"baseline": sources.baseline.outcomes} | {
        name: run.evaluation.outcomes for name, run in islice(sources.runs.items(), RUNS_WITH_ITEMS)
    }
    values: dict[str, Any] = {
        "page": content,
        "charts": embedded_json(chart_data(content)),
        "words": embedded_json(_words(sources)),
        "comparison": _packed(comparison),
        "markdown": _packed(text.encode()),
        "libraries": _libraries(),
        "scripts": [(name, _asset(name)) for name in SCRIPTS],
        "style": _asset("report.css"),
        "theme": _asset("theme.js"),
        "policy": _policy(),
        "has_items": any(sides.values()),
        **_beside(also),
    }
    template = _environment().get_template("page.html.j2")
    empty = template.render(values, items=ItemData("", ("x" * 200,)))
    room = int(max_megabytes * 1e6) - len(empty.encode("utf-8", "replace")) - 1000
    items = embed(sides, sources.baseline.questions, room, len(sources.runs))
    return without_halves(template.render(values, items=items))


def _beside(also: tuple[AlsoLine, ...]) -> dict[str, object]:
    """What the section "also measured" needs."""
    ends = [abs(end) for line in also for end in line.change.ci95]
    return {"also": also, "also_summary": also_sentence(also), "reach": max([1.0, *ends])}


def _table_html(content: TablePage) -> str:
    verdict = content.verdict
    return (
        _environment()
        .get_template("tables.html.j2")
        .render(
            _beside(content.also)
            | {
                "page": content,
                "tone": TONES.get(verdict or "", "neutral"),
                "verdict_title": wording.verdict_title(verdict) if verdict else "No verdict",
                "style": _asset("report.css"),
                "theme": _asset("theme.js"),
                "policy": _policy(),
                "version": __version__,
            }
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible_text,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": wording.percent,
        "points": wording.points,
        "interval": wording.interval,
        "interval_name": wording.interval_name,
        "p_value": wording.p_value,
        "count": wording.whole_number,
        "of_them": wording.of_them,
        "duration": wording.duration,
        "error_words": wording.error,
        "moment": wording.moment,
        "together": wording.kept_together,
        "parts": glossary.parts,
        "shown": shown,
    }
    environment.globals |= {
        "TERMS": glossary.TERMS,
        "CATEGORY_TERMS": glossary.CATEGORIES,
        "wording": wording,
        "contamination": contamination,
    }
    return environment


def visible_text(value: Any) -> Any:
    """Text with `screen.visible` controls; other values, and markup of ours, as they are."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return screen.visible(value)
    return value


def embedded_json(value: object) -> Markup:
    """`value` as JSON that cannot leave its script element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _words(sources: Sources) -> dict[str, Any]:
    return {
        "categories": wording.CATEGORIES,
        "errors": wording.ERRORS,
        "flags": glossary.FLAGS,
        "runs": list(sources.runs),
    }


def _packed(data: bytes) -> Markup:
    return Markup(base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii"))


@cache
def _asset(name: str) -> Markup:
    return Markup((ASSETS / name).read_text(encoding="utf-8"))


def _libraries() -> list[tuple[str, Markup, Markup]]:
    return [(name, _asset(script), _asset(licence)) for name, script, licence in LIBRARIES]


@cache
def _policy() -> str:
    """The page's content security policy: its own scripts by digest, and no request at all."""
    names = ["theme.js", *(script for _, script, _ in LIBRARIES), *SCRIPTS]
    digests = " ".join(
        "'sha256-" + base64.b64encode(hashlib.sha256(_asset(n).encode()).digest()).decode() + "'"
        for n in names
    )
    return (
        f"default-src 'none'; script-src {digests}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
