#!/bin/sh
# Makes the secrets that docker-compose.yaml hands to the containers, and notes in .env whom they belong to.
# What exists is kept. Usage: secrets.sh [directory of docker-compose.yaml]
set -eu
umask 077
cd "${1:-$(dirname "$0")/..}"

random() { # as many random bytes, in base64
    dd if=/dev/urandom bs="$1" count=1 2>/dev/null | base64 | tr -d '\n'
}
password() {
    random 32 | tr -d '=' | tr '+/' '-_'
}
make() { # name, then a command that prints the secret
    name=$1
    shift
    if [ -s "secrets/$name" ]; then
        echo "secrets/$name kept"
        return
    fi
    "$@" > "secrets/$name.new"
    mv "secrets/$name.new" "secrets/$name"
    echo "secrets/$name made"
}
pgpass() {
    printf '*:*:*:oofgg:%s\n' "$(password)"
}

# In secrets/tls goes a certificate of your own: tls.crt and tls.key.
mkdir -p secrets/tls
make master_key random 32
make service_secret password
make postgres_superuser password
make pgpass pgpass

# Containers do not run as root: made by root, the files belong to a user that exists nowhere else.
noted() {
    sed -n "s/^$1=//p" .env | tail -n 1
}
touch .env
if [ "$(id -u)" = 0 ]; then
    owner=$(noted OOFGG_UID) group=$(noted OOFGG_GID)
    owner=${owner:-10001} group=${group:-10001}
    chown -R "$owner:$group" secrets/*
else
    owner=$(id -u) group=$(id -g)
fi
find secrets -type f -exec chmod 600 {} +
for line in "OOFGG_UID=$owner" "OOFGG_GID=$group"; do
    name=${line%%=*}
    if [ -z "$(noted "$name")" ]; then
        echo "$line" >> .env
    elif [ "$name=$(noted "$name")" != "$line" ]; then
        echo ".env names another owner of the secrets than $line" >&2
        exit 1
    fi
done
