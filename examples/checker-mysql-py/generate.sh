#!/bin/sh
# The messages of poise's protos for Python, beside this script: poise/*/v1/*_pb2.py. Needs
# protoc (Debian: protobuf-compiler). PROTO is the proto directory of poise.
set -eu
cd "$(dirname "$0")"
proto=${PROTO:-../../proto}
command -v protoc >/dev/null || { echo "generate.sh: no protoc: apt-get install protobuf-compiler" >&2; exit 1; }
exec protoc -I "$proto" --python_out="${1:-.}" poise/plugin/v1/plugin.proto poise/check/v1/check.proto
