"""Abono's speed claims as measurements that anybody can repeat: `make bench`."""
