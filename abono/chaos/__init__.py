"""The fault campaign: lives on simulators by the thousand, and real processes that are killed under load."""
