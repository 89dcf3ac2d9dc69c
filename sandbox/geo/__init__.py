"""Stands in for the two web services that know where an internet address is."""
