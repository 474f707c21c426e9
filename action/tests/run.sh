#!/usr/bin/env bash
# Tests the parts of the action that need no server: the signature, the JSON reader, and what keeps
# foreign text from being taken for commands or markup. Prints what is wrong and fails if anything is.
# shellcheck disable=SC2016,SC1003 # single quotes hold text that must stay as it is
set -euo pipefail

export LC_ALL=C
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=../sign.sh
. "$here/../sign.sh"
# shellcheck source=../json.sh
. "$here/../json.sh"
# shellcheck source=../report.sh
. "$here/../report.sh"

# What the page of a job shows besides the deployment itself.
service=web sha=4f3c2a1b5d6e url=https://deploy.example.com:8443 deployment=0189-abc

checks=0 failures=0

# Compares what was found, $3, with what was expected, $2.
expect() {
    checks=$((checks + 1))
    if [[ $2 != "$3" ]]; then
        failures=$((failures + 1))
        printf 'FAILED: %s\n  expected: %q\n  found:    %q\n' "$1" "$2" "$3"
    fi
}

# Prints the byte $1, written in hexadecimal, $2 times.
repeated() {
    local i
    for ((i = 0; i < $2; i++)); do printf '%b' "\\x$1"; done
}

signatures_are_those_of_the_published_vectors() {
    local bytes='' i
    hmac_sha256 "It's a Secret to Everybody" 'Hello, World!'
    expect 'vector of GitHub' 757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17 "$REPLY"
    hmac_sha256 '' ''
    expect 'empty key and text' b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad "$REPLY"
    hmac_sha256 "$(repeated 0b 20)" 'Hi There'
    expect 'RFC 4231, 1' b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7 "$REPLY"
    hmac_sha256 Jefe 'what do ya want for nothing?'
    expect 'RFC 4231, 2' 5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843 "$REPLY"
    hmac_sha256 "$(repeated aa 20)" "$(repeated dd 50)"
    expect 'RFC 4231, 3' 773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe "$REPLY"
    for ((i = 1; i <= 25; i++)); do
        bytes+=$(printf '%b' "$(printf '\\x%02x' "$i")"; printf x)
        bytes=${bytes%x}
    done
    hmac_sha256 "$bytes" "$(repeated cd 50)"
    expect 'RFC 4231, 4' 82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b "$REPLY"
    hmac_sha256 "$(repeated aa 131)" 'Test Using Larger Than Block-Size Key - Hash Key First'
    expect 'RFC 4231, 6' 60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54 "$REPLY"
    hmac_sha256 "$(repeated aa 131)" 'This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.'
    expect 'RFC 4231, 7' 9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2 "$REPLY"
}

signatures_are_those_of_openssl_at_every_border_of_the_key_length() {
    local length key
    for length in 1 55 63 64 65 127 128 129 300; do
        key=$(openssl rand -hex 150)
        key=${key:0:length}
        hmac_sha256 "$key" "text with a line break"$'\n'
        expect "key of $length bytes" \
            "$(printf 'text with a line break\n' | openssl dgst -sha256 -hmac "$key" | sed 's/.* //')" "$REPLY"
    done
}

json_is_read_by_its_paths() {
    json_read '{"a":1,"b":{"c":"x","d":[{"e":true},{"e":null,"f":[[1,2],[]]}],"g":{}},"h":-1.5e3,"i":[],"j":"end"}'
    expect 'number' 1 "${JSON[a]-}"
    expect 'nested string' '"x"' "${JSON[b.c]-}"
    expect 'in a list' true "${JSON[b.d.0.e]-}"
    expect 'null' null "${JSON[b.d.1.e]-}"
    expect 'list of lists' 2 "${JSON[b.d.1.f.0.1]-}"
    expect 'after the depths' -1.5e3 "${JSON[h]-}"
    expect 'the last' '"end"' "${JSON[j]-}"
    expect 'number of values' 8 "${#JSON[@]}"
    json_text b.d.1.e
    expect 'null is empty' '' "$REPLY"
    json_text b.nothing
    expect 'absent is empty' '' "$REPLY"
    json_read '{"a":{"b":1}}' deployment
    expect 'under a name' 1 "${JSON[deployment.a.b]-}"
}

json_strings_are_what_they_stand_for() {
    json_read '{"a":"q\"b\\s\/n\nt\tr\ru\u00e9e\u20acx\ud83d\ude00.\u0000-\ud800.\\u0041\\\\n\u0001","b":"{\"a\":\"no\"}, [","c":"é€","":1,"d":"$(touch /tmp/x) `id` %s \\n"}'
    json_text a
    expect 'escapes' $'q"b\\s/n\nt\tr\rué'"e€x😀."$'\xef\xbf\xbd-\xef\xbf\xbd.\\u0041\\\\n\xef\xbf\xbd' "$REPLY"
    json_text b
    expect 'marks inside of a string' '{"a":"no"}, [' "$REPLY"
    json_text c
    expect 'UTF-8' 'é€' "$REPLY"
    json_text d
    expect 'nothing is expanded' '$(touch /tmp/x) `id` %s \n' "$REPLY"
}

json_fields_are_found_only_where_they_are() {
    local object='{"message":"say \"seq\":9, \\\"seq\\\":8 \\","seq":7,"line":"","none":null,"last":"a,b}"}'
    json_field "$object" seq
    expect 'not inside of a string' 7 "$REPLY"
    json_field "$object" message
    expect 'string' 'say "seq":9, \"seq\":8 \' "$REPLY"
    json_field "$object" line
    expect 'empty string' '' "$REPLY"
    json_field "$object" none
    expect 'null' '' "$REPLY"
    json_field "$object" last
    expect 'marks inside of a string' 'a,b}' "$REPLY"
    json_field "$object" absent
    expect 'absent' '' "$REPLY"
}

text_that_is_no_json_is_survived() {
    local text
    for text in '' '<html>502 Bad Gateway</html>' '}]' '{"a":' '[[[[' '"' '{"a":"b' '{{,:,}' 'null' '[{"a":1}'; do
        json_read "$text"
        json_text deployment.id
        expect "nothing in $text" '' "$REPLY"
        json_field "$text" code
        expect "no field in $text" '' "$REPLY"
    done
}

foreign_text_stays_one_harmless_line() {
    plain $'a\r::error::b\nc\td\e[31mred\e[0m\e]0;title\a'
    expect 'control characters' 'a ::error::b c dred ]0;title ' "$REPLY"
    command_text $'100%\r\n::x'
    expect 'text of a command' '100%25%0D%0A::x' "$REPLY"
    cell '<img src=x onerror="y"> | `code` & **b** [l](u) _i_ ~s~ \| #1 @me'
    expect 'cell of a table' \
        '&lt;img src=x onerror=&quot;y&quot;&gt; &#124; &#96;code&#96; &amp; &#42;&#42;b&#42;&#42; &#91;l&#93;(u) &#95;i&#95; &#126;s&#126; &#92;&#124; &#35;1 &#64;me' \
        "$REPLY"
    expect 'fence' $'\n`````text\na\n````\n``` b\n`````' "$(printf 'a\n````\n``` b\n' | fenced)"
}

commands_in_foreign_text_are_ignored_by_the_runner() {
    local output first second
    output=$(
        open_section Verify
        show '::add-path::/tmp/evil'
        open_section 'Roll back'
        show $'x\n::error::evil'
        close_section
    )
    first=$(sed -n 's/^::stop-commands::\([0-9a-f]\{32\}\)$/\1/p' <<<"$output" | head -n 1)
    second=$(sed -n 's/^::stop-commands::\([0-9a-f]\{32\}\)$/\1/p' <<<"$output" | tail -n 1)
    [[ $first != "$second" ]] || expect 'the word is new each time' differs "$first"
    expect 'log' "::group::Verify
::stop-commands::$first
  ::add-path::/tmp/evil
::$first::
::endgroup::
::group::Roll back
::stop-commands::$second
  x ::error::evil
::$second::
::endgroup::" "$output"
}

the_page_of_a_job_tells_the_whole_story() {
    json_read '{"deployment":{"image":"ghcr.io/acme/web:4f3c","digest":null,"previous":{"image":"ghcr.io/acme/web:1a2b"},"duration_ms":9250,"outage_ms":390,"cause":{"code":"container_exited"},"events":[{"seq":1,"at":"2026-11-22T21:00:01.5Z","status":"rolling_back","message":"a | `b` <i>"}],"log":["one\u001b[31m","```","::error::x\r::error::y"]}}'
    expect 'page' '## 🚨 Rolled &#42;back&#42;

it &lt;exited&gt;


````text
one
```
::error::x ::error::y
````

**What to do:** look

| | |
|---|---|
| Service | web |
| Image | ghcr.io/acme/web:4f3c |
| Previous | ghcr.io/acme/web:1a2b |
| Duration | 9.2 s |
| Outage | 390 ms |
| Cause | container&#95;exited |
| Deployment | 0189-abc |
| Server | https://deploy.example.com:8443 |

<details><summary>What happened</summary>

| time | status | event |
|---|---|---|
| 21:00:01 | rolling back | a &#124; &#96;b&#96; &lt;i&gt; |

</details>' "$(summary '🚨 Rolled *back*' 'it <exited>' look)"
}

# A deployment whose container wrote all the wrong things, and what it wrote as a list.
hostile() {
    local text='' line
    hostile=(
        '::error::evil' $' \t::add-mask::evil' '::stop-commands::evil' '##[error]evil' 'x ##[add-path]evil'
        $'\e[0m::warning::evil' $'a\r::error::evil' '%0A::error::evil' '%0D%0A::error::evil'
        '</details></code></pre><script>evil</script>' '~~~ evil' '    ```` evil' '| evil |'
        '::error::evil'
    )
    for line in "${hostile[@]}"; do
        line=${line//$'\e'/\\u001b}
        line=${line//$'\r'/\\r}
        text+=",\"${line//$'\t'/\\t}\""
    done
    json_read "{\"deployment\":{\"log\":[${text#,}]}}"
}

no_line_of_the_container_commands_the_runner() {
    local hostile output stopped='' line
    hostile
    section='' stop_word=''
    output=$(
        show 'it exited'
        show_output
        annotation_output
        annotate 'Rolled back' "it exited$REPLY"
        tell ''
    )
    while IFS= read -r line; do
        if [[ -n $stopped ]]; then
            [[ $line != "::$stopped::" ]] || stopped=''
        elif [[ $line =~ ^[[:space:]]*::stop-commands::([0-9a-f]{32})$ ]]; then
            stopped=${BASH_REMATCH[1]}
        elif [[ $line =~ ^[[:space:]]*:: || $line == *'##['* ]]; then
            expect 'the only command' '::error title=Rolled back::it exited%0A| ' "${line:0:41}"
            expect 'no older command' 0 "$(grep -c '##\[' <<<"$line" || true)"
            expect 'its percent signs are escaped' 1 "$(grep -c '%0A| %250A::error::evil%0A| %250D%250A::' <<<"$line")"
        fi
    done <<<"$output"
    expect 'commands are read again' '' "$stopped"
    expect 'all of it is shown' "${#hostile[@]}" "$(grep -c '^  | .*evil' <<<"$output")"
    JSON=()
    annotation_output
    expect 'without output' '' "$REPLY"
}

the_annotation_has_the_last_lines_and_of_each_its_beginning() {
    local text='' index long
    for ((index = 1; index <= 12; index++)); do text+=",\"line $index\""; done
    long=$(repeated 78 199)é$(repeated 79 100)
    json_read "{\"deployment\":{\"log\":[${text#,},\"$long\"]}}"
    annotation_output
    expect 'ten lines' $'\n| line 4' "${REPLY:0:9}"
    expect 'no character is cut in two' "| $(repeated 78 199)…" "${REPLY##*$'\n'}"
    expect 'number of lines' 10 "$(grep -c '^| ' <<<"$REPLY")"
}

no_line_of_the_container_leaves_its_block_on_the_page() {
    local hostile page block
    hostile
    page=$(summary 'Rolled back' 'it exited' look)
    block=${page#*$'\n`````text\n'}
    block=${block%%$'\n`````\n'*}
    expect 'all of it is in the block' "${#hostile[@]}" "$(grep -c evil <<<"$block")"
    expect 'and nowhere else' 0 "$(grep -c evil <<<"${page/"$block"/}" || true)"
    expect 'right below the cause' $'it exited\n\n\n`````text' "$(sed -n '3,6p' <<<"$page")"
}

hashes_are_short_for_people() {
    local commit=3f2a9c1b0d4e5f60718293a4b5c6d7e8f9012345
    short_hashes "ghcr.io/acme/web:$commit@sha256:$(repeated 61 64); v1.2"
    expect 'hashes' 'ghcr.io/acme/web:3f2a9c1b0d4e@sha256:aaaaaaaaaaaa; v1.2' "$REPLY"
    short_hashes "${commit}0 x$commit release-2026-11-27"
    expect 'no hashes' "${commit}0 x$commit release-2026-11-27" "$REPLY"
}

a_page_without_a_deployment_tells_what_is_known() {
    local deployment=''
    json_read ''
    expect 'page' "## Refused

| | |
|---|---|
| Service | web |
| Image | $sha |
| Server | $url |" "$(summary Refused '' '')"
}

a_page_never_grows_beyond_what_github_shows() {
    local text='{"deployment":{"events":[' filler index page
    filler=$(repeated 78 1000)
    for ((index = 1; index <= 300; index++)); do
        text+="{\"seq\":$index,\"at\":\"T\",\"status\":\"pulling\",\"message\":\"event $index\"},"
    done
    text=${text%,}'],"log":['
    for ((index = 1; index <= 250; index++)); do text+="\"line $index of $filler\","; done
    json_read "${text%,}]}}"
    page=$(summary Failed '' '')
    ((${#page} < 250000)) || expect 'size of the page' 'below 250000' "${#page}"
    expect 'the last event is there' 1 "$(grep -c '| event 300 |' <<<"$page")"
    expect 'number of events' 100 "$(grep -c '| event [0-9]' <<<"$page")"
    expect 'the last line is there' 1 "$(grep -c '^line 250 of' <<<"$page")"
    expect 'the first line is not' 0 "$(grep -c '^line 1 of' <<<"$page" || true)"
}

times_and_sizes_are_for_people() {
    expect 'none' none "$(duration 0)"
    expect 'milliseconds' '390 ms' "$(duration 390)"
    expect 'seconds' '4.2 s' "$(duration 4250)"
    expect 'minutes' '2 min 5 s' "$(duration 125000)"
    expect 'no number' unknown "$(duration 'a[$(id)]')"
    expect 'small' '12 kB' "$(bytes 12345)"
    expect 'large' '1234.5 MB' "$(bytes 1234567890)"
}

signatures_are_those_of_the_published_vectors
signatures_are_those_of_openssl_at_every_border_of_the_key_length
json_is_read_by_its_paths
json_strings_are_what_they_stand_for
json_fields_are_found_only_where_they_are
text_that_is_no_json_is_survived
foreign_text_stays_one_harmless_line
commands_in_foreign_text_are_ignored_by_the_runner
the_page_of_a_job_tells_the_whole_story
no_line_of_the_container_commands_the_runner
the_annotation_has_the_last_lines_and_of_each_its_beginning
no_line_of_the_container_leaves_its_block_on_the_page
hashes_are_short_for_people
a_page_without_a_deployment_tells_what_is_known
a_page_never_grows_beyond_what_github_shows
times_and_sizes_are_for_people

printf '%d checks, %d failed\n' "$checks" "$failures"
((failures == 0))
