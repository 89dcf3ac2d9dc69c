"""Decisions and waiting. No I/O, no clock but Temporal's, no provider words."""
