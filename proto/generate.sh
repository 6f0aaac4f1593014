#!/bin/sh
# Go code from the protos, into the directory given or beside them.
# Needs protoc (Debian: protobuf-compiler); the generators are tools of this module.
set -eu
cd "$(dirname "$0")"
out=${1:-.}
command -v protoc >/dev/null || { echo "proto/generate.sh: no protoc: apt-get install protobuf-compiler" >&2; exit 1; }
# shellcheck disable=SC2046 # paths of protos hold no spaces
exec protoc -I . \
	--plugin=protoc-gen-go="$(go tool -n protoc-gen-go)" \
	--plugin=protoc-gen-go-grpc="$(go tool -n protoc-gen-go-grpc)" \
	--go_out="$out" --go_opt=paths=source_relative \
	--go-grpc_out="$out" --go-grpc_opt=paths=source_relative \
	$(find poise -name '*.proto' | sort)
