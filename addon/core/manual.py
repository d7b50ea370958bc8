"""The manual's Markdown as a page that any browser shows: headings, paragraphs, lists, tables, pictures, code."""

from __future__ import annotations

import html
import re
from pathlib import Path

STYLE = ("body{max-width:46em;margin:2em auto;padding:0 1em;font:16px/1.5 system-ui,sans-serif;color:#222}"
         "img{max-width:100%}code{background:#eee;padding:.1em .3em}pre code{display:block;padding:.7em}"
         "table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:.3em .6em;text-align:left}"
         "h1,h2,h3{line-height:1.2;margin-top:1.6em}")


def page(markdown: str, folder: Path) -> str:
    """HTML of `markdown`; pictures are looked for in `folder`."""
    blocks = re.split(r"\n\s*\n", markdown.strip())
    title = html.escape(blocks[0].lstrip("# ").strip()) if blocks else ""
    body = "\n".join(_block(block, folder) for block in blocks)
    return f'<!DOCTYPE html><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>\n{body}\n'


def _block(block: str, folder: Path) -> str:
    lines = block.split("\n")
    heading = re.match(r"(#{1,4}) (.+)", lines[0])
    if heading:
        level, text = len(heading[1]), heading[2]
        name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
        rest = "\n".join(lines[1:]).strip()
        return f'<h{level} id="{name}">{_words(text, folder)}</h{level}>' + (_block(rest, folder) if rest else "")
    if lines[0].startswith("```"):
        code = "\n".join(line for line in lines if not line.startswith("```"))
        return f"<pre><code>{html.escape(code)}</code></pre>"
    if lines[0].startswith("|"):
        return _table(lines, folder)
    for mark, tag in ((r"[-*] ", "ul"), (r"\d+\. ", "ol")):
        if re.match(mark, lines[0]):
            items = re.split(rf"(?m)^{mark}", block)[1:]
            return f"<{tag}>" + "".join(f"<li>{_words(item.strip(), folder)}</li>" for item in items) + f"</{tag}>"
    return f"<p>{_words(block, folder)}</p>"


def _table(lines: list[str], folder: Path) -> str:
    rows = [[_words(cell.strip(), folder) for cell in line.strip().strip("|").split("|")] for line in lines
            if not re.fullmatch(r"[|\s:-]+", line)]
    tags = ["th", *["td"] * (len(rows) - 1)]
    return "<table>" + "".join("<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in row) + "</tr>"
                               for tag, row in zip(tags, rows, strict=True)) + "</table>"


def _words(text: str, folder: Path) -> str:
    """Text with its marks: code, pictures, links, bold, italics."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(f"<code>{html.escape(part[1:-1])}</code>" if part.startswith("`") and len(part) > 1
                   else _marked(html.escape(part, quote=False), folder) for part in parts)


def _marked(text: str, folder: Path) -> str:
    text = re.sub(r"!\[([^]]*)]\(([^)]+)\)",
                  lambda found: f'<img alt="{found[1]}" src="{(folder / found[2]).resolve().as_uri()}">', text)
    text = re.sub(r"\[([^]]+)]\(([^)]+)\)", r'<a href="\2">\1</a>', text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)
    return re.sub(r"(?<!\w)\*([^*]+)\*(?!\w)", r"<i>\1</i>", text)
