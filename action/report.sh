# shellcheck shell=bash
# What people see of a deployment on GitHub: the sections of the log, annotations, the page of the
# job (its summary), and the outputs of the step.
#
# Most of the text comes from elsewhere: container output, registries, Docker. A runner obeys
# commands (`::add-path::…`) that it finds in the output of a step, so such text is only printed
# while the runner is told to ignore them, until it sees a word that nobody can guess.
# https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands

# The page is cut off by GitHub at 1 MiB, as a whole.
readonly max_summary_events=100 max_summary_lines=200 max_summary_bytes=200000
# So many of the last lines of the container stand under the cause on the page, in the log, and in the
# annotation, which GitHub cuts at 4 KiB.
readonly max_page_lines=30 max_log_lines=20 max_annotation_lines=10 max_annotation_columns=200

section=''
stop_word=''

# Sets REPLY to $1 on one line: without terminal colors and without control characters.
plain() {
    REPLY=$1
    [[ $REPLY == *[[:cntrl:]]* ]] || return 0
    local color=$'\e\\[[0-9;:?]*[A-Za-z]'
    while [[ $REPLY =~ $color ]]; do
        REPLY=${REPLY/"${BASH_REMATCH[0]}"/}
    done
    REPLY=${REPLY//[[:cntrl:]]/ }
}

# Sets REPLY to $1 with each hash in it, 40 or 64 hexadecimal digits, cut to 12 digits.
short_hashes() {
    local hash='(^|[^0-9A-Za-z])([0-9a-f]{40}|[0-9a-f]{64})([^0-9A-Za-z]|$)'
    REPLY=$1
    while [[ $REPLY =~ $hash ]]; do
        REPLY=${REPLY/"${BASH_REMATCH[2]}"/"${BASH_REMATCH[2]:0:12}"}
    done
}

# Prints a line of the script's own.
tell() {
    ignore_commands no
    printf '%s\n' "$1"
}

# Prints a line of somebody else's, indented, and without effect on the runner.
show() {
    ignore_commands yes
    plain "$1"
    printf '  %s\n' "$REPLY"
}

# Tells the runner whether to ignore the commands that it finds in what follows.
ignore_commands() {
    if [[ $1 == yes && -z $stop_word ]]; then
        stop_word=$(openssl rand -hex 16)
        printf '::stop-commands::%s\n' "$stop_word"
    elif [[ $1 == no && -n $stop_word ]]; then
        printf '::%s::\n' "$stop_word"
        stop_word=''
    fi
}

# Begins a section of the log that can be folded, unless it is the present one.
open_section() {
    [[ $section != "$1" ]] || return 0
    close_section
    section=$1
    tell "::group::$1"
}

# Ends the present section, if there is one.
close_section() {
    [[ -n $section ]] || return 0
    section=''
    tell '::endgroup::'
}

# Has the runner replace $1 by asterisks wherever it is printed. Does nothing outside of a runner,
# which would print it instead.
mask() {
    [[ ${GITHUB_ACTIONS-} == true ]] || return 0
    command_text "$1"
    tell "::add-mask::$REPLY"
}

# Puts an error with the title $1 and the text $2 onto the page of the run.
annotate() {
    local title
    command_text "$1"
    title=${REPLY//:/%3A}
    title=${title//,/%2C}
    command_text "$2"
    tell "::error title=$title::$REPLY"
}

# Shows the last output of the container that failed.
show_output() {
    local count first line
    count=$(length_of deployment.log)
    first=$((count > max_log_lines ? count - max_log_lines : 0))
    while IFS= read -r line; do
        show "| $line"
    done < <(output_lines "$first" "$count")
}

# Sets REPLY to the last output of the container that failed as a part of an annotation: each line on one of its
# own, behind a mark, and empty if there is none.
annotation_output() {
    local count first line text=''
    count=$(length_of deployment.log)
    first=$((count > max_annotation_lines ? count - max_annotation_lines : 0))
    while IFS= read -r line; do
        if ((${#line} > max_annotation_columns)); then
            line=${line:0:max_annotation_columns}
            # No character is cut in two.
            while [[ $line == *[!$'\x01'-$'\x7f'] ]]; do line=${line%?}; done
            line+='…'
        fi
        text+=$'\n'"| ${line//'##['/'## ['}"
    done < <(output_lines "$first" "$count")
    REPLY=$text
}

# Prints the last output of the container that failed from line $1 to before line $2, each of them on one line.
output_lines() {
    local index
    for ((index = $1; index < $2; index++)); do
        json_text "deployment.log.$index"
        plain "$REPLY"
        printf '%s\n' "$REPLY"
    done
}

# Sets REPLY to $1 as the text of a command.
command_text() {
    REPLY=${1//'%'/%25}
    REPLY=${REPLY//$'\r'/%0D}
    REPLY=${REPLY//$'\n'/%0A}
}

# Sets REPLY to $1 as text inside of Markdown: on one line, and nothing in it is markup.
cell() {
    local mark
    plain "$1"
    REPLY=${REPLY//'&'/'&amp;'}
    REPLY=${REPLY//'<'/'&lt;'}
    REPLY=${REPLY//'>'/'&gt;'}
    REPLY=${REPLY//'"'/'&quot;'}
    # As numbers, these are ordinary characters for Markdown: table borders, code, emphasis, links.
    # The numbers contain a # themselves, so that one is first.
    for mark in '#' \\ '`' '|' '*' '_' '[' ']' '~' '@'; do
        [[ $REPLY != *"$mark"* ]] || REPLY=${REPLY//"$mark"/"$(printf '&#%d;' "'$mark")"}
    done
}

# Prints the lines of standard input as a block that nothing inside of it can end.
fenced() {
    local text fence='```'
    text=$(cat)
    while [[ $text == *"$fence"* ]]; do
        fence+='`'
    done
    printf '\n%stext\n%s\n%s\n' "$fence" "$text" "$fence"
}

# Prints a length of time, given in milliseconds, for people.
duration() {
    local ms=$1
    if [[ ! $ms =~ ^[0-9]{1,12}$ ]]; then
        printf 'unknown'
    elif ((ms == 0)); then
        printf 'none'
    elif ((ms < 1000)); then
        printf '%d ms' "$ms"
    elif ((ms < 60000)); then
        printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
    else
        printf '%d min %d s' $((ms / 60000)) $((ms / 1000 % 60))
    fi
}

# Prints a number of bytes for people.
bytes() {
    local count=$1
    if ((count < 1000000)); then
        printf '%d kB' $((count / 1000))
    else
        printf '%d.%d MB' $((count / 1000000)) $((count / 100000 % 10))
    fi
}

# Prints one row of the table about the deployment, unless its value is empty.
row() {
    [[ -n $2 ]] || return 0
    cell "$2"
    printf '| %s | %s |\n' "$1" "$REPLY"
}

# Prints the page of the job: the heading $1, a sentence $2 with the last output of the container right below, a
# hint $3, and from JSON whatever is known of the deployment.
summary() {
    local heading=$1 sentence=$2 hint=$3
    cell "$heading"
    printf '## %s\n\n' "$REPLY"
    cell "$sentence"
    [[ -z $REPLY ]] || printf '%s\n\n' "$REPLY"
    summary_output
    cell "$hint"
    [[ -z $REPLY ]] || printf '**What to do:** %s\n\n' "$REPLY"
    printf '| | |\n|---|---|\n'
    summary_rows
    summary_events
    summary_earlier_output
    printf '\n'
}

# Prints the rows of the table about the deployment.
summary_rows() {
    local outage=''
    row Service "$service"
    json_text deployment.image
    short_hashes "${REPLY:-$sha}"
    row Image "$REPLY"
    json_text deployment.digest
    row Digest "$REPLY"
    json_text deployment.previous.image
    short_hashes "$REPLY"
    row Previous "$REPLY"
    json_text deployment.duration_ms
    [[ -z $REPLY ]] || row Duration "$(duration "$REPLY")"
    json_text deployment.outage_ms
    [[ -z $REPLY ]] || outage=$(duration "$REPLY")
    row Outage "$outage"
    json_text deployment.cause.code
    row Cause "$REPLY"
    row Deployment "$deployment"
    row Server "$url"
}

# Prints the events of the deployment as a table that is folded away, the last of them if there are very many.
summary_events() {
    local count index=0 at status
    count=$(length_of deployment.events .seq)
    ((count > 0)) || return 0
    printf '\n<details><summary>What happened</summary>\n\n| time | status | event |\n|---|---|---|\n'
    if ((count > max_summary_events)); then
        index=$((count - max_summary_events))
        printf '| … | | |\n'
    fi
    for (( ; index < count; index++)); do
        json_text "deployment.events.$index.at"
        at=${REPLY#*T}
        cell "${at%%[.Z+]*}"
        at=$REPLY
        json_text "deployment.events.$index.status"
        cell "${REPLY//_/ }"
        status=$REPLY
        json_text "deployment.events.$index.message"
        short_hashes "$REPLY"
        cell "$REPLY"
        printf '| %s | %s | %s |\n' "$at" "$status" "$REPLY"
    done
    printf '\n</details>\n'
}

# Prints how many elements the list $1 in JSON has; $2 is what each of them has.
length_of() {
    local count=0
    while [[ -n ${JSON[$1.$count${2-}]-} ]]; do
        count=$((count + 1))
    done
    printf '%d' "$count"
}

# Prints the last lines of the container that failed.
summary_output() {
    local count first
    count=$(length_of deployment.log)
    ((count > 0)) || return 0
    first_line "$count" "$max_page_lines"
    first=$REPLY
    output_lines "$first" "$count" | fenced
    printf '\n'
}

# Prints what the container wrote before that, folded away.
summary_earlier_output() {
    local count first end
    count=$(length_of deployment.log)
    first_line "$count" "$max_page_lines"
    end=$REPLY
    first_line "$count" "$max_summary_lines"
    first=$REPLY
    ((first < end)) || return 0
    printf '\n<details><summary>Earlier output of the new container</summary>\n'
    output_lines "$first" "$end" | fenced
    printf '\n</details>\n'
}

# Sets REPLY to the number of the first of the last $2 lines of $1, or of fewer if they are long.
first_line() {
    local size=0
    for ((REPLY = $1; REPLY > 0 && REPLY > $1 - $2; REPLY--)); do
        size=$((size + ${#JSON[deployment.log.$((REPLY - 1))]}))
        ((size < max_summary_bytes)) || break
    done
}
