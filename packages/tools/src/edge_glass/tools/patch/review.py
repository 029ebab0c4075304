"""What the patches leave to a person: names without a definition, unsafe loading."""

from __future__ import annotations

from pathlib import Path

from edge_glass.tools.code.cells import Code
from edge_glass.tools.code.findings import distinct, loading_findings, name_findings
from edge_glass.tools.code.program import Program
from edge_glass.tools.patch.syntax.rewrite import Note


def review(code: Code, path: Path) -> list[Note]:
    """Return what no patch repairs. Calls and keys are reported by their own patches."""
    program = Program(code.cells, path, code.foreign)
    found = distinct([*name_findings(program), *loading_findings(program)])
    return [Note(finding.cell, "person", finding.message) for finding in found]
