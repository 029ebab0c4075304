"""The sample's pictures through a bad network and three kills: every picture that exists arrives.

Run:    python examples/fetch-with-faults/show.py
Needs:  edge-glass-training, and the sample (`dvc pull data.dvc`)

The links of a PixMo file are made of the sample's pictures; `server.py` serves them with resets,
cut bodies, 503s, 429s with a Retry-After of ten years, login pages with status 200, and links that
are dead. `edge-glass fetch` is killed three times (kill -9) on the way, then ends by itself; a last
run with --retry-failed asks again for the pictures that came as login pages.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.encoders.images import BadImageError, decode_image

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "data" / "captions" / "val_concept.parquet"
FETCH = [sys.executable, "-c", "from edge_glass.fusion.app.cli import main; main()", "fetch"]
OPTIONS = [
    *("--allow-private", "--concurrency", "16", "--per-host", "16", "--rows-per-shard", "100"),
    *("--max-retry-after", "0.2", "--backoff", "0.05", "--max-attempts", "7"),
]
KILLS = 3
DEAD_EVERY = 50  # as in server.py


def make_input(sample: Path, port: str, path: Path) -> list[bytes]:
    """Writes the sample's rows with links instead of pictures; returns the rows' pictures."""
    table = pq.read_table(sample)
    images = table.column("image").to_pylist()
    bodies: list[bytes] = [(image or {}).get("bytes") or b"" for image in images]
    number = {body: rank for rank, body in enumerate(dict.fromkeys(bodies))}
    urls = pa.array([f"http://127.0.0.1:{port}/{number[body]}" for body in bodies])
    place = table.schema.get_field_index("image_url")
    pq.write_table(table.drop_columns("image").set_column(place, "image_url", urls), path)
    return bodies


def is_whole(body: bytes) -> bool:
    """Whether a picture of the sample can be decoded; a few are broken on purpose."""
    try:
        decode_image(body)
    except BadImageError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=Path, default=SAMPLE)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, HERE / "server.py", arguments.sample],
            stdout=subprocess.PIPE,
            text=True,
        ) as server,
    ):
        assert server.stdout is not None
        try:
            port = server.stdout.readline().strip()
            source, out = Path(folder, "links.parquet"), Path(folder, "out")
            bodies = make_input(arguments.sample, port, source)
            journal = out / "work" / "journal.log"
            command = [*FETCH, source, out, *OPTIONS]
            for kill in range(KILLS):
                # Python's own helper process complains of the kill on standard error
                process = subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                size = journal.stat().st_size if journal.exists() else 0
                size += draw.randrange(10_000, 40_000)
                while process.poll() is None and (
                    not journal.exists() or journal.stat().st_size < size
                ):
                    time.sleep(0.01)
                assert process.poll() is None, "ended before it could be killed"
                process.kill()
                process.wait()
                shards = len(list(out.glob("*.parquet")))
                print(
                    f"kill {kill + 1}: {journal.stat().st_size} bytes of journal, {shards} shards"
                )
            subprocess.run(command, check=True)
            subprocess.run([*command, "--retry-failed"], check=True)
        finally:
            server.terminate()
        rows = [
            row for path in sorted(out.glob("*.parquet")) for row in pq.read_table(path).to_pylist()
        ]
    there = {
        body
        for rank, body in enumerate(dict.fromkeys(bodies))
        if rank % DEAD_EVERY and is_whole(body)
    }
    expected = [body if body in there else None for body in bodies]
    found = [(row["image"] or {}).get("bytes") for row in rows]
    assert found == expected, "a row or a picture is lost, doubled or changed"
    lacking = found.count(None)
    print(
        f"{len(rows)} rows in order; {len(rows) - lacking} have their picture, {lacking} name one "
        "that is dead, or broken in the sample itself"
    )


if __name__ == "__main__":
    main()
