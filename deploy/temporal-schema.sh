#!/bin/sh
# Creates Temporal's two databases and brings their tables to this version of the server; safe to run again.
# Runs in the admin-tools image. The password comes as SQL_PASSWORD.
set -eu

tool() {
    database=$1
    shift
    temporal-sql-tool --plugin postgres12 --ep postgres --port 5432 --user abono --db "$database" "$@"
}

for part in temporal visibility; do
    database=temporal
    [ "$part" = visibility ] && database=temporal_visibility
    # Each answers "exists already" when it has been there before.
    tool "$database" create || true
    tool "$database" setup-schema --version 0.0 || true
    tool "$database" update-schema --schema-dir "/etc/temporal/schema/postgresql/v12/$part/versioned"
done
