"""A real excerpt of ab-initio molecular dynamics and the emulators trained on it."""
