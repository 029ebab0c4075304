"""`edge-glass plan`: memory, time and disk of the stages, without weights and before they run."""
