"""Every side effect. Workflows see `activities.signatures` only; the rest is behind those names."""
