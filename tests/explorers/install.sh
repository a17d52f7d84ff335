#!/usr/bin/env bash
# Builds the tools that people explore gRPC with into build/tools, in the versions named here. Where there is no Go, or
# its modules cannot be reached, it says so in build/tools/<tool>.missing, and the tests skip with that reason.
set -uo pipefail
cd "$(dirname "$0")/../.."

TOOLS=$PWD/build/tools
mkdir -p "$TOOLS"
export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-ldflags=-w

# Builds from the module's own directory, under the versions its authors locked.
build() { # tool, module, version, package
    local tool=$1 module=$2 version=$3 package=$4 marker="$TOOLS/$1-$3" why
    [ -x "$TOOLS/$tool" ] && [ -e "$marker" ] && return
    echo "building $tool $version into build/tools (once)"
    rm -f "$TOOLS/$tool" "$TOOLS/$tool".missing
    why=$(
        command -v go > /dev/null || { echo "there is no Go to build it with"; exit; }
        directory=$(go mod download -json "$module@$version" 2> /dev/null | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
        [ -n "$directory" ] || { echo "the Go module $module@$version cannot be reached"; exit; }
        cd "$directory" || exit
        go build -mod=readonly -trimpath -o "$TOOLS/$tool" "$package" 1>&2 || echo "$module@$version cannot be built"
    )
    if [ -n "$why" ]; then echo "$tool: $why" | tee "$TOOLS/$tool.missing"; else touch "$marker"; fi
}

build grpcurl github.com/fullstorydev/grpcurl v1.9.3 ./cmd/grpcurl
build evans github.com/ktr0731/evans v0.10.11 .
