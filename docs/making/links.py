"""MkDocs' hook: the site is whole by itself.

What pages link to beyond docs/ is copied into it, and nothing is loaded from elsewhere.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
SHIM = "iframe-worker.js"  # the search of a site that is opened from the disk; mkdocs.yml puts it in the place of unpkg.com's
_CODE = re.compile(r"`[^`\n]+`")
_FETCHES = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?https?:[^\s\">]+|<link\b[^>]*\bstylesheet[^>]*https?:")
_OUTSIDE = re.compile(r"\]\(\.\./([^)#]+)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the shim, and what the pages link to beyond docs/ under `repository/`."""
    files.append(File.generated(config, f"assets/{SHIM}", abs_src_path=str(Path(__file__).parent / SHIM)))
    for path in sorted({path for page in files.documentation_pages() for path in _OUTSIDE.findall(page.content_string)}):
        files.append(File.generated(config, f"repository/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Leads those links to their copies. Forges want a pipe in a table's code escaped; MkDocs would show the escape."""
    return _CODE.sub(lambda code: code[0].replace(r"\|", "|"), _OUTSIDE.sub(r"](repository/\1", markdown))


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuses a page that would load something from a network."""
    if loads := _FETCHES.findall(output):
        raise ValueError(f"{page.file.src_uri} would load {loads[0]}")
    return output
