"""Runs that make things: simulate, convert, train, roll out, evaluate."""

import engine  # noqa: F401 (before PyTorch, to which it has something to say)
