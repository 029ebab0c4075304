"""The command line: quick help, clear errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image


def run(*arguments: str, traceback: str = "0", lines: str = "") -> subprocess.CompletedProcess[str]:
    code = "from edge_glass.fusion.app.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        input=lines,
        env={**os.environ, "EDGE_GLASS_TRACEBACK": traceback},
    )


def test_help_lists_ask_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['edge-glass', '--help']\n"
        "from edge_glass.fusion.app.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted({'torch', 'transformers', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ask" in done.stdout
    assert "chat" in done.stdout
    assert "search" in done.stdout
    assert done.stdout.strip().endswith("[]")


def test_a_missing_picture_is_one_line() -> None:
    done = run("ask", "nowhere.png", "what is it?")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "edge-glass: nowhere.png: no such picture; give the path of a picture file"
    )


def test_a_broken_picture_is_one_line(tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    picture.write_text("<html>not found</html>")
    done = run("ask", str(picture), "what is it?")
    assert done.returncode == 1
    assert "page.png: not a readable picture" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_traceback_is_there_for_the_asking() -> None:
    done = run("ask", "nowhere.png", "what is it?", traceback="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.strip().endswith("give the path of a picture file")


def test_chat_in_a_pipe_prints_the_answers_that_ask_gives(vlm_folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "scene.png"
    Image.linear_gradient("L").resize((60, 40)).save(picture)
    questions = ["how many dogs are there?", "where is the cat?"]
    model = ("--model", str(vlm_folder))
    asked = run("ask", str(picture), *questions, "--json", *model)
    rows = [json.loads(line) for line in asked.stdout.splitlines()]
    assert [row["question"] for row in rows] == questions
    assert {row["picture"] for row in rows} == {str(picture)}
    chatted = run("chat", str(picture), *model, lines="\n".join([*questions, "/quit"]))
    assert (chatted.returncode, chatted.stderr) == (0, "")
    assert chatted.stdout.splitlines() == [row["answer"] for row in rows]
    failed = run("chat", str(picture), *model, lines="/picture nowhere.png\nwhat?\n")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.startswith("edge-glass: nowhere.png: no such picture")
