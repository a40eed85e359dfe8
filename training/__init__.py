"""Runs that make things: simulate, convert, train, roll out, evaluate."""
