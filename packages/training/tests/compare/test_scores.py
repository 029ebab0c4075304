"""`compare-scores`: folders, revisions and experiments, and what it prints."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from edge_glass.training.commands import register
from edge_glass.training.compare.committed_scores import read_run
from edge_glass.training.compare.scores import compare_scores

RANKS = "way,query,group,16,4\ni2t,0,dog,{0},2\ni2t,1,cat,1,1\nt2i,0,dog,1,3\n"
GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")


def write_run(folder: Path, *, right: list[int] | float, rank: int = 1, **change: Any) -> None:
    (folder / "predictions/vlm_qa").mkdir(parents=True, exist_ok=True)
    (folder / "predictions/align").mkdir(exist_ok=True)
    found = right if isinstance(right, list) else []
    rows = [
        {
            "image": number // 2,
            "type": ("count", "colour")[number % 2],
            "question": "what?",
            "truth": "2",
            "model": "2" if number in found else "two",
            "right": number in found if isinstance(right, list) else right,
            **change,
        }
        for number in range(8)
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "predictions/vlm_qa/val.jsonl").write_text(lines, encoding="utf-8")
    (folder / "predictions/align/val.csv").write_text(RANKS.format(rank))


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, ["compare-scores", "--samples", "200", *arguments])
    return result.exit_code, result.output or str(result.exception)


def test_two_folders_by_split_type_and_rule(tmp_path: Path) -> None:
    write_run(tmp_path / "a", right=[0, 1])
    write_run(tmp_path / "b", right=[0, 1, 2, 4, 6], rank=3)
    a, b = read_run(str(tmp_path / "a")), read_run(str(tmp_path / "b"))
    lines = {line.score: line.result for line in compare_scores(a, b, seed=0, num_resamples=200)}
    assert list(lines) == [
        "R@1 image to text, 16 dims",
        "R@1 text to image, 16 dims",
        "R@1 image to text, 4 dims",
        "R@1 text to image, 4 dims",
        "exact match",
        "exact match, colour",
        "exact match, count",
        "vqa_v2_exact_match",
        "vqa_v2_exact_match, colour",
        "vqa_v2_exact_match, count",
    ]
    assert lines["R@1 image to text, 16 dims"].difference == -0.5
    assert (lines["exact match"].only_a, lines["exact match"].only_b) == (0, 3)
    assert lines["exact match, count"].difference == 0.75
    assert lines["exact match"].p_mcnemar == 0.25  # three of three: 2 / 2^3
    assert lines["vqa_v2_exact_match"].mean_a == 1.0  # "two" is "2"


def test_a_rule_of_one_question_type_scores_that_type_alone(tmp_path: Path) -> None:
    for name, right in (("a", [0]), ("b", [0, 2])):
        write_run(tmp_path / name, right=right)
        file = tmp_path / name / "predictions/vlm_qa/val.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        ruled = [{**row, "rule": "anls"} if row["type"] == "count" else row for row in rows]
        file.write_text("".join(json.dumps(row) + "\n" for row in ruled))
    a, b = read_run(str(tmp_path / "a")), read_run(str(tmp_path / "b"))
    numbers = {
        line.score: line.result.number for line in compare_scores(a, b, seed=0, num_resamples=100)
    }
    assert numbers["anls"] == 4
    assert "anls, count" not in numbers  # it has no other type
    assert numbers["exact match, count"] == 4


def test_a_split_of_one_run_is_reported_and_an_empty_one_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write_run(tmp_path / name, right=[0])
        (tmp_path / name / "predictions/vlm_qa/val_empty.jsonl").write_text("")
        (tmp_path / name / "predictions/align/val_empty.csv").write_text("way,query,group,16,4\n")
    (tmp_path / "b/predictions/vlm_qa/test.jsonl").write_text("")
    status, output = run("a", "b")
    assert status == 0
    assert "only b has vlm_qa/test.jsonl, so it is not compared" in output
    assert "val_empty" not in output
    (tmp_path / "b/predictions/vlm_qa/val.jsonl").write_text("")
    status, output = run("a", "b")
    assert status == 1
    assert "val: b has no questions and a has some" in output


def test_descriptions_and_odd_files_are_left_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name, right=[0], question="what?\u2028now?")
        folder = tmp_path / name / "predictions/vlm_qa"
        (folder / "descriptions_val.jsonl").write_text('{"image": 0, "description": "a dog"}\n')
        (folder / ".DS_Store").write_bytes(b"\xff\xfe")
    a, b = read_run(str(tmp_path / "a")), read_run(str(tmp_path / "b"))
    lines = compare_scores(a, b, seed=0, num_resamples=100)
    assert {line.split for line in lines} == {"val"}
    assert {line.result.number for line in lines if line.score == "exact match"} == {8}


def test_revisions_and_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    project = tmp_path / "project"  # paths are relative to the folder, not to the repository
    for number, right in enumerate(([0], [0, 1, 2])):
        write_run(project, right=right)
        subprocess.run([*GIT, "add", "."], check=True)
        subprocess.run([*GIT, "commit", "-q", "-m", str(number)], check=True)
    subprocess.run(["git", "update-ref", "refs/exps/ab/cdef/my-trial", "HEAD"], check=True)
    monkeypatch.chdir(project)
    status, output = run("HEAD~1", "my-trial", "--json")
    assert status == 0
    rows = [json.loads(line) for line in output.splitlines()]
    assert rows[4]["score"] == "exact match"
    assert (rows[4]["mean_a"], rows[4]["mean_b"]) == (0.125, 0.375)
    status, output = run("HEAD~1", ".")
    assert "val    exact match" in output
    assert "+25.0" in output
    with pytest.raises(ValueError, match="-x: no such folder, revision or experiment"):
        read_run("-x")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("nothing", "nothing: no such folder, and this is no git repository"),
        ("empty", "empty: found no predictions"),
        ("different", "8 of its questions are in only one of a and different|16 of its"),
        ("broken", r"broken: vlm_qa/val\.jsonl:1: expected a line of `evaluate_vlm_qa`"),
        ("list", r"list: vlm_qa/val\.jsonl:1: expected a line of `evaluate_vlm_qa`"),
        ("number", r"number: vlm_qa/val\.jsonl:1: expected a line of `evaluate_vlm_qa`"),
        ("deep", r"deep: vlm_qa/val\.jsonl:1: expected a line of `evaluate_vlm_qa`"),
        ("half_right", r"half_right: vlm_qa/val\.jsonl:1: .*right is 0\.5"),
        ("huge", r"huge: vlm_qa/val\.jsonl:1: .*right is 1e\+300"),
        ("not_ranks", r"not_ranks: align/val\.csv: expected a table of `evaluate_align`"),
        ("rank_0", r"rank_0: align/val\.csv: expected a table .*a rank is 0"),
        ("twice", r"twice: align/val\.csv: expected a table .*a query is there twice"),
        ("long", r"long: align/val\.csv: expected a table .*field limit"),
        ("no_table", r"no_table: align/val\.csv: expected a table"),
    ],
)
def test_what_cannot_be_compared_is_named(
    second: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    write_run(tmp_path / "a", right=[0])
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "different", right=[0], question="who?")
    for name, line in (("broken", "{}"), ("list", "[1]"), ("deep", "[" * 100_000)):
        write_run(tmp_path / name, right=[0])
        (tmp_path / name / "predictions/vlm_qa/val.jsonl").write_text(f"{line}\n")
    write_run(tmp_path / "number", right=[0], model=2)
    for name, value in (("half_right", 0.5), ("huge", 1e300)):
        write_run(tmp_path / name, right=value)
    for name, text in (
        ("not_ranks", "way,16\ni2t,x\n"),
        ("rank_0", RANKS.format(0)),
        ("twice", RANKS.format(1) + "i2t,0,dog,1,1\n"),
        ("long", RANKS.format(1) + f"i2t,9,{'x' * 200_000},1,1\n"),
        ("no_table", "\x00\n"),
    ):
        write_run(tmp_path / name, right=[0])
        (tmp_path / name / "predictions/align/val.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        compare_scores(read_run("a"), read_run(second), seed=0, num_resamples=100)
