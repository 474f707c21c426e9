# shellcheck shell=bash
# HMAC-SHA256 (RFC 2104), made of two passes of `openssl dgst -sha256`.
#
# OpenSSL takes the key of an HMAC on its command line, and every user of a machine can read the
# command lines of all processes. So the key stays inside this shell: only built-in commands touch
# it, and openssl gets it, already mixed with the padding, through pipes.

# Sets REPLY to the bytes of $1 in hexadecimal.
hex_of() {
    local LC_ALL=C text=$1 hex='' code digits i
    for ((i = 0; i < ${#text}; i++)); do
        printf -v code '%d' "'${text:i:1}"
        printf -v digits '%02x' "$((code & 255))"
        hex+=$digits
    done
    REPLY=$hex
}

# Sets REPLY to the HMAC-SHA256 of the text $2 under the key $1, as 64 hexadecimal digits.
# Fails if openssl does.
hmac_sha256() {
    local key text=$2 inner='' outer='' byte digits digest i
    hex_of "$1"
    key=$REPLY
    if ((${#key} > 128)); then
        # A key longer than one block of 64 bytes is replaced by its hash.
        digest=$(printf '%s' "$1" | openssl dgst -sha256 -hex) || return 1
        key=${digest##* }
    fi
    for ((i = 0; i < 64; i++)); do
        byte=${key:2*i:2}
        byte=$((16#${byte:-00}))
        printf -v digits '\\x%02x' "$((byte ^ 0x36))"
        inner+=$digits
        printf -v digits '\\x%02x' "$((byte ^ 0x5c))"
        outer+=$digits
    done
    digest=$(
        {
            printf '%b' "$outer"
            {
                printf '%b' "$inner"
                printf '%s' "$text"
            } | openssl dgst -sha256 -binary
        } | openssl dgst -sha256 -hex
    ) || return 1
    REPLY=${digest##* }
    [[ $REPLY =~ ^[0-9a-f]{64}$ ]]
}
