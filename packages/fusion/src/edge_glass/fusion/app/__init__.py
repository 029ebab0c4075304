"""The command `edge-glass`, and its subcommands that run a model."""
