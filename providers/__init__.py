"""One protocol, one adapter per payment provider. Providers translate; they never decide."""
