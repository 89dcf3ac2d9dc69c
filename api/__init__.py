"""The HTTP side of Abono: it authenticates, validates, reads rows and sends commands. It decides nothing."""
