#!/usr/bin/env bash
# Brings Apache Kafka's jars into build/tools/kafka, as Maven is set up here, in the versions of pom.xml. Where there is
# no Java 17 or no Maven, or the jars cannot be reached, it says so in build/tools/kafka.missing, and the tests skip with
# that reason.
set -uo pipefail
cd "$(dirname "$0")/../.."

TOOLS=$PWD/build/tools
mkdir -p "$TOOLS"
# Named after what is asked for: another pom.xml is another installation.
marker="$TOOLS/kafka/$(cksum < tests/kafka/pom.xml | tr ' ' -)"
[ -e "$marker" ] && exit 0
rm -rf "$TOOLS/kafka" "$TOOLS/kafka.missing"

why=$(
    java=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
    [ "${java:-0}" -ge 17 ] || { echo "there is no Java 17 to run it with"; exit; }
    command -v mvn > /dev/null || { echo "there is no Maven to fetch it with"; exit; }
    echo "fetching Apache Kafka into build/tools/kafka, about 45 MB (once)" >&2
    timeout 300 mvn -q -B -f tests/kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$TOOLS/kafka" > "$TOOLS/kafka.log" 2>&1 || echo "its jars cannot be reached with Maven"
)
if [ -n "$why" ]; then
    rm -rf "$TOOLS/kafka"
    echo "Apache Kafka: $why" | tee "$TOOLS/kafka.missing"
else
    touch "$marker"
fi
