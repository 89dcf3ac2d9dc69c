"""Tables, migrations and queries. Nothing here is imported by a workflow."""
