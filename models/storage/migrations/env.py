"""Alembic's entry: runs the migrations on the connection that `abono.migrate` hands over."""

from alembic import context

from models.storage.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
