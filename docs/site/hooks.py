"""What the site shows beside docs/: the tables of benchmarks/ as pages, and links to source files as plain names."""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

REPOSITORY = Path(__file__).parent.parent.parent
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
RENAMED = {"review/review.html": "review/living-review.html"}  # the page made of review.md has its name
FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


def on_files(files, config):
    """Pages that lie outside docs/."""
    for path in sorted((REPOSITORY / "benchmarks").glob("*.md")):
        files.append(File.generated(config, f"benchmarks/{path.name}", content=path.read_text()))
    for path, other in RENAMED.items():
        files.append(File.generated(config, other, content=(REPOSITORY / "docs" / path).read_text()))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links as they are on the site; on the disk they hold as they stand. The first page has its lists, and no menu beside them."""
    if page.file.src_uri == "index.md":
        page.meta["hide"] = ["navigation", "toc"]
    known = {file.src_uri for file in files}
    pieces = FENCE.split(markdown)
    return "".join(piece if piece.startswith("```") else _linked(piece, page.file.src_uri, known) for piece in pieces)


def _linked(markdown, uri, known):
    """`markdown` of the page `uri` with each link to a page of the site relative to it, and others as their text alone."""
    here = posixpath.dirname(uri)
    on_disk = here if uri.startswith("benchmarks/") else posixpath.join("docs", here)

    def replaced(match):
        text, target, anchor = match[1], match[2], match[3] or ""
        if "://" in target:
            return match[0]
        whole = posixpath.normpath(posixpath.join(on_disk, target))
        there = RENAMED.get(whole.removeprefix("docs/"), whole.removeprefix("docs/"))
        if there in known:
            return f"[{text}]({posixpath.relpath(there, here or '.')}{anchor})"
        return text  # source files and folders are not part of the site

    markdown = LINK.sub(replaced, markdown)
    return markdown.replace("](../docs/pictures/", "](../pictures/")
