"""`ldm bench`: how fast the hot paths are beside what they replace, measured side by side in one process."""
