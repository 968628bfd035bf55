"""The documentation is whole: every page is in the site's list, every link and picture leads somewhere. Needs no MkDocs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$|^    .*$|`[^`\n]*`", re.M | re.S)


def prose(page: Path) -> str:
    """The page without its code; a link's text may be code, and is no matter."""
    return FENCED.sub("", page.read_text())


def links(page: Path) -> Iterator[str]:
    return (link for link in LINK.findall(prose(page)) if not re.match(r"\w+:", link))


def anchors(page: Path) -> set[str]:
    """The ids that MkDocs and forges give to headings; where two would be the same, only the first counts."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower()) for heading in headings}


def in_nav(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    else:
        for child in node.values() if isinstance(node, dict) else node:
            yield from in_nav(child)


def test_every_page_stands_once_in_the_list_of_the_site() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(in_nav(nav)) == [page.name for page in PAGES]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    dead = []
    for link in links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        there = target.is_file() and (target.suffix != ".md" or not anchor or anchor in anchors(target))
        dead += [] if there else [link]
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_begins_with_its_title_and_has_no_other(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", text, re.M)) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_list_has_an_empty_line_before_it(page: Path) -> None:
    """Forges show it as a list either way; MkDocs would go on with the paragraph."""
    lines = prose(page).split("\n")
    item = re.compile(r"([*-]|\d+\.) ")
    pairs = [(a, b) for a, b in pairwise(lines) if item.match(b) and a.strip()]
    runs_on = [b for a, b in pairs if not (item.match(a) or a.startswith(" "))]
    assert runs_on == []


def test_pages_load_nothing_from_elsewhere() -> None:
    for page in PAGES:
        assert re.findall(r"!\[[^\]]*\]\(\w+:|<(?:img|script|iframe)\b", prose(page)) == [], page.name
    for picture in DOCS.glob("pictures/*.svg"):
        assert set(re.findall(r"https?://[^\s\"')]+", picture.read_text())) <= {"http://www.w3.org/2000/svg"}
