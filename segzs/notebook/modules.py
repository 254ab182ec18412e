"""The modules of the page as one module, which is what anywidget loads."""

from __future__ import annotations

import json
import re
from graphlib import TopologicalSorter
from pathlib import Path

from segzs.settings import PACKAGE

WEB = PACKAGE / "web"
IMPORT = re.compile(r'from "\./([\w-]+\.js)"')
LOADER = """\
const sources = SOURCES;
const addresses = {};
for (const [name, source] of Object.entries(sources)) {
  const linked = source.replace(/from "\\.\\/([\\w-]+\\.js)"/g, (_, file) => `from "${addresses[file]}"`);
  addresses[name] = URL.createObjectURL(new Blob([linked], { type: "text/javascript" }));
}
const { widget } = await import(addresses["widget.js"]);
export default widget(STYLE);
"""


def widget_module(folder: Path = WEB) -> str:
    """The text of a module that makes the page's modules from their sources, each after those that it imports.

    >>> "export default" in widget_module()
    True
    """
    graph: dict[str, set[str]] = {}
    names = ["widget.js"]
    while names:
        name = names.pop()
        graph[name] = set(IMPORT.findall((folder / name).read_text("utf-8")))
        names += graph[name] - graph.keys()
    sources = {name: (folder / name).read_text("utf-8") for name in TopologicalSorter(graph).static_order()}
    style = json.dumps((folder / "style.css").read_text("utf-8"))
    return LOADER.replace("STYLE", style).replace("SOURCES", json.dumps(sources))
