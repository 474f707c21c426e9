# shellcheck shell=bash
# Reads JSON with bash and grep alone, because a runner need not have jq.
#
# A document is read into JSON, one entry per value: the path (`deployment.events.0.message`) leads
# to the value as it was written, a string with its quotes. Lists and objects have no entry of their
# own. Text that is no JSON leaves few entries or none, so callers ask for the entry that they need.

declare -A JSON=()

# One token: a string, a number or word, or a mark.
readonly json_token='"[^"\\]*(\\.[^"\\]*)*"|[^][{}:,"[:space:]]+|[][{}:,]'

# Reads the document $1 into JSON, as if it were the value of the key $2 if that is given.
json_read() {
    local LC_ALL=C token depth=0 path place=value
    local -a mark=('') prefix=('') name=("${2:-}")
    JSON=()
    while IFS= read -r token; do
        path=${prefix[depth]}${name[depth]}
        case $token in
            '{' | '[')
                depth=$((depth + 1))
                mark[depth]=$token
                prefix[depth]=${path:+$path.}
                if [[ $token == '{' ]]; then
                    name[depth]='' place=name
                else
                    name[depth]=0 place=value
                fi
                ;;
            '}' | ']')
                ((depth > 0)) || break
                depth=$((depth - 1))
                ;;
            ':') place=value ;;
            ',')
                if [[ ${mark[depth]} == '[' ]]; then
                    name[depth]=$((name[depth] + 1))
                else
                    place=name
                fi
                ;;
            *)
                if [[ $place == name ]]; then
                    token=${token#\"}
                    name[depth]=${token%\"}
                elif [[ -n $path ]]; then
                    JSON[$path]=$token
                fi
                ;;
        esac
    done < <(grep -oE "$json_token" <<<"$1" || true)
}

# Sets REPLY to the text of the entry $1: without quotes, escapes resolved; empty for null and for
# an entry that does not exist.
json_text() {
    json_value "${JSON[$1]-}"
}

# Sets REPLY to the value of the first key $2 in the object $1: far quicker than json_read, for small
# documents that come by the thousand. Inside of a string every quote has a backslash before it, so
# `"key":` is found nowhere but where the key is.
json_field() {
    local LC_ALL=C
    if [[ $1 =~ \"$2\":(\"[^\"\\]*(\\.[^\"\\]*)*\"|[^],{}\"[:space:]]+) ]]; then
        json_value "${BASH_REMATCH[1]}"
    else
        REPLY=''
    fi
}

# Sets REPLY to the text of a value as it was written.
json_value() {
    REPLY=$1
    case $REPLY in
        null) REPLY='' ;;
        \"*)
            REPLY=${REPLY#\"}
            json_unescape "${REPLY%\"}"
            ;;
    esac
}

# Sets REPLY to the inside of a string with its escapes resolved.
json_unescape() {
    local LC_ALL=C rest=$1 text=''
    REPLY=$rest
    [[ $rest == *\\* ]] || return 0
    # An escaped backslash begins no other escape. Until those are resolved it is a control character,
    # which JSON has only as an escape.
    rest=${rest//'\\'/$'\1'}
    rest=${rest//'\"'/'"'}
    rest=${rest//'\/'/'/'}
    rest=${rest//'\n'/$'\n'}
    rest=${rest//'\r'/$'\r'}
    rest=${rest//'\t'/$'\t'}
    rest=${rest//'\b'/$'\b'}
    rest=${rest//'\f'/$'\f'}
    while [[ $rest == *'\u'* ]]; do
        text+=${rest%%'\u'*}
        rest=${rest#*'\u'}
        json_code_point "${rest:0:10}"
        text+=$REPLY
        # Two escapes make one character of four bytes.
        ((${#REPLY} < 4)) || rest=${rest:6}
        rest=${rest:4}
    done
    REPLY=$text$rest
    REPLY=${REPLY//$'\1'/'\'}
}

# Sets REPLY to the character, in UTF-8, of the escape whose digits $1 begins with. What stands for no
# character, and the two that cannot be held here (0 and 1), become U+FFFD.
json_code_point() {
    local LC_ALL=C code low format
    REPLY=$'\xef\xbf\xbd'
    [[ $1 =~ ^([0-9A-Fa-f]{4})(\\u([0-9A-Fa-f]{4}))? ]] || return 0
    code=$((16#${BASH_REMATCH[1]}))
    low=$((16#${BASH_REMATCH[3]:-0}))
    if ((code >= 0xd800 && code < 0xdc00 && low >= 0xdc00 && low < 0xe000)); then
        code=$((0x10000 + ((code - 0xd800) << 10) + low - 0xdc00))
    fi
    if ((code <= 1 || (code >= 0xd800 && code < 0xe000))); then
        return 0
    elif ((code < 0x80)); then
        printf -v format '\\x%02x' "$code"
    elif ((code < 0x800)); then
        printf -v format '\\x%02x' $((code >> 6 | 0xc0)) $((code & 0x3f | 0x80))
    elif ((code < 0x10000)); then
        printf -v format '\\x%02x' $((code >> 12 | 0xe0)) $((code >> 6 & 0x3f | 0x80)) $((code & 0x3f | 0x80))
    else
        printf -v format '\\x%02x' $((code >> 18 | 0xf0)) $((code >> 12 & 0x3f | 0x80)) \
            $((code >> 6 & 0x3f | 0x80)) $((code & 0x3f | 0x80))
    fi
    printf -v REPLY '%b' "$format"
}
