"""No file and no folder imports itself, directly or through others."""

from __future__ import annotations

from import_graph import ROOT, SOURCES, cycles, imports


def test_no_import_cycles_between_files() -> None:
    assert cycles({name: set(imports(name)) for name in SOURCES}) == []


def test_no_import_cycles_between_folders() -> None:
    """A folder below a package is one node; the files directly in a package stand alone."""

    def node(module: str) -> str:
        path = SOURCES[module].relative_to(ROOT)
        within = path.parts[path.parts.index("edge_glass") + 1 : -1]
        return "/".join(within if len(within) > 1 else (*within, path.name))

    graph: dict[str, set[str]] = {node(name): set() for name in SOURCES}
    for name in SOURCES:
        graph[node(name)] |= {node(each) for each in imports(name)} - {node(name)}
    assert cycles(graph) == []
