#!/bin/sh
# Creates the namespace when it is not there; safe to run again. Runs in the admin-tools image.
set -eu

temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1 ||
    temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 30d
