"""The patch `collate`: missing keys are added; a function may call the library's on request."""
