"""Values and rules that the whole engine shares: pure code here, tables and queries in `models.storage`."""
