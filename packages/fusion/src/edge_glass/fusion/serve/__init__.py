"""`edge-glass serve`: an HTTP server with OpenAI's interface.

`app` (all routes), `served` (the models), `worker` (one thread for all of them), `chat`,
`embeddings` and `status` (the routes), `access`, `traffic`, `body`, `image_input` and `limits`
(what is refused), `failure` (how), `server` (the process).
"""
