"""One file a command, or a few that belong together. Heavy imports stay inside the commands."""
