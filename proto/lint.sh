#!/bin/sh
# Style of the protos, and that they still understand the accepted interfaces.
#   proto/lint.sh           buf lint, and buf breaking against accepted.binpb
#   proto/lint.sh --accept  take the protos as they are as the accepted interfaces
# The first run builds buf, which takes some minutes; it is no part of this module.
set -eu
cd "$(dirname "$0")"
buf() { go run github.com/bufbuild/buf/cmd/buf@v1.75.0 "$@"; }
buf lint
case ${1-} in
--accept) buf build --exclude-source-info -o accepted.binpb ;;
'') buf breaking --against accepted.binpb ;;
*) echo "proto/lint.sh: $1 is not known: --accept or nothing" >&2; exit 2 ;;
esac
