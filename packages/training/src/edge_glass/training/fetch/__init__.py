"""Pictures that a Parquet file links to, fetched and kept, whatever the network does.

Read in this order: `session` and `fetcher` (what happens), `client` and `address` (one request, and
where it may go), `frontier` and `retry` (which request is next), `inbox`, `picture` and `pool`
(what counts as a picture), `packs`, `journal` and `store` (what survives a kill), `slices`, `index`
and `ledger` (rows, pictures, shards), `builder`, `shards` and `manifest` (what comes out).
"""
