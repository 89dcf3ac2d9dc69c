"""The development stack: everything Abono needs, run on one machine by one process."""
