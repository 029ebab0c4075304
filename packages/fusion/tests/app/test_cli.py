"""The command line: quick help, clear errors, lines typed in a real pseudo-terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from edge_glass.decoders.sampling import Sampling
from edge_glass.fusion.app.ask import ask_image


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


def test_a_missing_image_is_one_line() -> None:
    done = run("ask", "nowhere.png", "what is it?")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "edge-glass: nowhere.png: no such image; give the path of an image file"
    )


def test_a_fault_of_the_system_has_a_name_and_no_number(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("{}")
    done = run("search", "a dog", str(tmp_path / ("x" * 300)))
    assert done.returncode == 1
    assert done.stderr.strip().endswith("File name too long")
    assert "Errno" not in done.stderr


def test_a_broken_image_is_one_line(tmp_path: Path) -> None:
    image = tmp_path / "page.png"
    image.write_text("<html>not found</html>")
    done = run("ask", str(image), "what is it?")
    assert done.returncode == 1
    assert "page.png: not a readable image" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_traceback_is_there_for_the_asking() -> None:
    done = run("ask", "nowhere.png", "what is it?", traceback="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.strip().endswith("give the path of an image file")


@pytest.mark.slow  # starts processes that import torch
def test_chat_in_a_pipe_prints_the_answers_that_ask_gives(vlm_folder: Path, tmp_path: Path) -> None:
    image = tmp_path / "scene.png"
    Image.linear_gradient("L").resize((60, 40)).save(image)
    questions = ["how many dogs are there?", "where is the cat?"]
    model = ("--model", str(vlm_folder))
    asked = run("ask", str(image), *questions, "--json", *model)
    rows = [json.loads(line) for line in asked.stdout.splitlines()]
    assert [row["question"] for row in rows] == questions
    assert {row["image"] for row in rows} == {str(image)}
    chatted = run("chat", str(image), *model, lines="\n".join([*questions, "/quit"]))
    assert (chatted.returncode, chatted.stderr) == (0, "")
    assert chatted.stdout.splitlines() == [row["answer"] for row in rows]
    failed = run("chat", str(image), *model, lines="/image nowhere.png\nwhat?\n")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.startswith("edge-glass: nowhere.png: no such image")


@pytest.mark.slow  # starts processes that import torch
def test_ask_passes_its_sampling_options_on(vlm_folder: Path, tmp_path: Path) -> None:
    image = tmp_path / "scene.png"
    Image.linear_gradient("L").resize((60, 40)).save(image)
    questions = ["how many dogs are there?"] * 3
    options = ("--temperature", "2", "--top-p", "0.9", "--seed", "3", "--json",
               "--max-new-tokens", "4", "--stop", "blue")  # fmt: skip
    done = run("ask", str(image), *questions, *options, "--model", str(vlm_folder))
    answers = [json.loads(line)["answer"] for line in done.stdout.splitlines()]
    limits = {"max_new_tokens": 4, "stop": ("blue",)}
    sampling = Sampling(temperature=2.0, top_p=0.9, seed=3, **limits)
    assert answers == ["".join(each) for each in ask_image(image, questions, vlm_folder, sampling)]
    assert len(set(answers)) > 1
    failed = run("ask", str(image), *questions, "--temperature", "-1")
    assert failed.stderr == "edge-glass: temperature is -1.0, expected 0 (greedy) or more\n"


CODE = (
    "from edge_glass.fusion.app.terminal import typed_lines\n"
    "for line in typed_lines('> '):\n    print(f'<{line}>', flush=True)\n"
    "print('over', flush=True)"
)


def typed(end: bytes) -> list[str]:
    """Returns what a terminal shows if two lines are typed and then `end`."""
    master, slave = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", CODE], stdin=slave, stdout=slave) as process:
        os.close(slave)
        shown = b""
        for answer, keys in ((b"> ", b"one\n"), (b"<one>\r\n> ", b"two\n"), (b"<two>\r\n> ", end)):
            while not shown.endswith(answer):
                shown += os.read(master, 1024)
            os.write(master, keys)
        while b"over" not in shown:
            shown += os.read(master, 1024)
        assert process.wait() == 0
    os.close(master)
    return shown.decode().splitlines()


def test_typed_lines_come_until_control_d() -> None:
    assert [line for line in typed(b"\x04") if "<" in line or "over" in line] == [
        "<one>",
        "<two>",
        "over",
    ]
