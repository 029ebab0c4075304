"""The patch `transforms`: image pipelines, their keywords, and names that no cell defines."""
