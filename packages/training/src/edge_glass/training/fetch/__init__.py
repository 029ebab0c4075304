"""Downloads the images that a Parquet file links to, and writes the same rows with their bytes.

One image passes these files: `fetcher` (the order of events), `queue` (which request is next),
`http` (one request), `targets`, `addresses` and `proxy` (what is sent, and where to), `failure`
(why it failed), `writers` (worker processes that check and keep an image), `journal`, `packs` and
`ledger` (what survives a kill), `shards` (what comes out), `placeholders` (what came too often).
`input` and `index` number rows and images, `mirrors` reads local copies, `parts` uses several
machines, `report` writes manifest and summary. `session` runs all of it, `command` is the CLI.
"""
