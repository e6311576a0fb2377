"""The diagrams of the pages, as SVG that reads in light and dark: python docs/site/diagrams.py"""

from pathlib import Path
from xml.sax.saxutils import escape

PICTURES = Path(__file__).parent.parent / "pictures"
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
STYLE = f"""
text {{ font-family: {FONT}; fill: #1b2438; }}
.panel {{ fill: #f7f8fb; }}
.box {{ fill: #e3e8f6; stroke: #3f51b5; stroke-width: 1.2; }}
.strong {{ fill: #3f51b5; stroke: #3f51b5; }}
.strong-text {{ fill: #ffffff; }}
.warm {{ fill: #fde9d2; stroke: #b25b00; stroke-width: 1.2; }}
.soft {{ fill: #55607a; }}
.line {{ stroke: #6b7690; stroke-width: 1.6; fill: none; }}
.head {{ fill: #6b7690; }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #e6e9f2; }}
  .panel {{ fill: #232736; }}
  .box {{ fill: #303855; stroke: #8c9eff; }}
  .strong {{ fill: #5c6bc0; stroke: #8c9eff; }}
  .warm {{ fill: #4a3520; stroke: #ffb74d; }}
  .soft {{ fill: #aab2c8; }}
  .line {{ stroke: #97a1bb; }}
  .head {{ fill: #97a1bb; }}
}}"""


def drawing(width, height, title, *parts):
    """One SVG; `title` is what a screen reader says of it."""
    marker = '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path class="head" d="M0 0 8 4 0 8z"/></marker>'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">',
            f"<title>{escape(title)}</title><style>{STYLE}</style><defs>{marker}</defs>",
            f'<rect class="panel" width="{width}" height="{height}" rx="10"/>',
            *parts,
            "</svg>\n",
        )
    )


def box(x, y, width, height, head, *lines, kind="box"):
    """A box with a bold first line and smaller ones below, centred."""
    ink = "strong-text" if kind == "strong" else ""
    top = y + height / 2 - 9 * len(lines) + 5
    rows = [f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>']
    rows.append(words(x + width / 2, top, head, size=15, weight=600, kind=ink))
    rows += [words(x + width / 2, top + 18 * (k + 1), line, size=12.5, kind=ink or "soft") for k, line in enumerate(lines)]
    return "\n".join(rows)


def words(x, y, text, *, size=13, weight=400, kind="", anchor="middle"):
    style = f'class="{kind}" ' if kind else ""
    return f'<text {style}x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}">{escape(text)}</text>'


def arrow(*points):
    path = "M" + " L".join(f"{x} {y}" for x, y in points)
    return f'<path class="line" d="{path}" marker-end="url(#head)"/>'


def flow():
    """Scan to report, with the file each stage leaves."""
    first = (
        ("scan", "which files,", "which labels", "manifest.csv"),
        ("audit", "what would make", "the result wrong", "audit.json"),
        ("split", "by person,", "copies together", "split.csv"),
        ("prepare", "read and resize", "once", "cache/"),
    )
    second = (
        ("train", "weights, and the", "epoch to keep", "best.safetensors"),
        ("calibrate", "probabilities, limits,", "thresholds", "calibration.json"),
        ("evaluate", "the test set,", "read once", "metrics.json"),
        ("report", "one page", "for people", "report.html"),
    )
    parts = []
    for row, y in ((first, 24), (second, 176)):
        for k, (name, *lines, file) in enumerate(row):
            x = 20 + 210 * k
            parts.append(box(x, y, 170, 78, name, *lines, kind="strong" if name == "report" else "box"))
            parts.append(words(x + 85, y + 98, file, size=12, kind="soft"))
            if k < 3:
                parts.append(arrow((x + 170, y + 39), (x + 208, y + 39)))
    parts.append(arrow((735, 126), (735, 150), (105, 150), (105, 174)))
    parts.append(box(230, 304, 380, 52, "evidence", "controls, maps, embedding, label issues", kind="warm"))
    parts.append(arrow((420, 284), (420, 302)))
    parts.append(arrow((610, 330), (735, 330), (735, 284)))
    return drawing(840, 376, "Eight stages from scan to report; each leaves one file, and the evidence joins the report", *parts)


def split():
    """Persons, not images, are dealt into four sets."""
    parts = [words(150, 34, "persons, each with all their images", size=14, weight=600)]
    for k in range(6):
        x, y = 30 + 84 * (k % 3), 52 + 96 * (k // 3)
        parts.append(f'<rect class="warm" x="{x}" y="{y}" width="72" height="82" rx="6"/>')
        parts.append(words(x + 36, y + 20, f"person {k + 1}", size=12))
        for j in range((2, 1, 3, 2, 4, 1)[k]):
            parts.append(
                f'<rect class="box" x="{x + 9 + 28 * (j % 2)}" y="{y + 28 + 25 * (j // 2)}" width="24" height="21" rx="2"/>'
            )
    parts.append(words(150, 268, "near-duplicates of a person's", size=12.5, kind="soft"))
    parts.append(words(150, 285, "images stay with that person", size=12.5, kind="soft"))
    rows = (
        ("training set · 60 %", "the weights, and all that is fitted"),
        ("validation set · 10 %", "which epoch, which setting"),
        ("calibration set · 12 %", "probabilities, thresholds, when to ask a person"),
        ("test set · 18 %", "nothing is chosen here; read once, and counted"),
    )
    for k, (name, use) in enumerate(rows):
        y = 22 + 72 * k
        parts.append(box(410, y, 410, 56, name, use, kind="strong" if k == 3 else "box"))
        parts.append(arrow((296, 150), (350, 150), (350, y + 28), (407, y + 28)))
    return drawing(840, 310, "Persons, not images, are dealt into four sets; each set has one use", *parts)


def rooms():
    """The rooms from the top of the house to its ground, and what each is for."""
    rows = (
        (("apps", "command line, demo"),),
        (("studies", "whole runs, comparisons, exports, the review"),),
        (("report", "pages, charts, verdict, checklists"),),
        (("evaluation", "calibrate, test, diagnostics, saliency"),),
        (("training", "loops, losses, fits, pre-training"),),
        (("inference", "Predictor, engines, calibration, OOD score"),),
        (("runs", "the run directory, test ledger"),),
        (("recipes", "Recipe, and one file a published system"),),
        (("data", "cases, sources, audit, split, phantoms"),),
        (("models", "backbones, heads, weights"),),
        (("transforms", "readers, steps, augmentation"), ("metrics", "figures and their intervals")),
        (("records", "settings as data"), ("files", "atomic writing, locks")),
        (("errors", "one sentence each"), ("words", "what a setting takes")),
    )
    parts, height = [], 44
    for k, row in enumerate(rows):
        y, width = 20 + height * k, (700 - 12 * (len(row) - 1)) / len(row)
        for j, (name, use) in enumerate(row):
            x = 20 + j * (width + 12)
            parts.append(f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{height - 8}" rx="5"/>')
            parts.append(words(x + 14, y + 23, name, size=15, weight=600, anchor="start"))
            parts.append(words(x + (130 if len(row) == 1 else 118), y + 23, use, size=13, kind="soft", anchor="start"))
    bottom = 20 + height * len(rows)
    parts.append(arrow((760, 30), (760, bottom - 16)))
    parts.append(
        f'<text class="soft" font-size="13" text-anchor="middle" transform="translate(790 {bottom / 2}) rotate(90)">imports go downward only</text>'
    )
    return drawing(
        820, bottom + 12, "Thirteen rows of rooms, from apps down to errors; each imports only from rows below it", *parts
    )


if __name__ == "__main__":
    for name, draw in (("flow", flow), ("split", split), ("rooms", rooms)):
        (PICTURES / f"{name}.svg").write_text(draw())
