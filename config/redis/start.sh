#!/bin/sh
# Starts Redis with the users of users.acl, each with the hash of its secret: the file redis_NAME in $SECRETS. Whose file is
# missing can't log in; the default user never can. The list lies in memory, for the container has no disk of its own.
set -eu
here=$(dirname "$0")
secrets=${SECRETS:-/run/secrets}
list=${ACL_FILE:-/run/redis/users.acl}

umask 077
{
    echo "user default off"
    while read -r user name rights; do
        file="$secrets/redis_$name"
        if [ -s "$file" ]; then
            rights="$rights #$(tr -d '\r\n' <"$file" | sha256sum | cut -d ' ' -f 1)"
        fi
        echo "$user $name $rights"
    done <"$here/users.acl"
} >"$list"

exec redis-server "$here/redis.conf" --dir "${DATA:-/data}" --aclfile "$list" "$@"
