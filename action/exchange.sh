# shellcheck shell=bash
# What is said to the server and what it answers: the signed request, the deployment, its events.
#
# Neither the secret nor the token that reads the deployment is ever part of a command line: curl
# takes its headers from files that only this user can read.

# The server sends something every 15 s, if only a comment.
readonly silence_seconds=40
# Nobody wants to read every second how far a pull has come.
readonly progress_seconds=10

stamp=0
# Of the last answer: `taken` (there is a deployment), `busy` (come again), `refused`, `unreachable`
# (nothing was sent) or `lost` (perhaps the server has it); the same in words; who gave it.
answer='' answer_text='' answered_by=''
http_status='' answer_body='' location='' retry_after=''
deployment='' last_seq=0 last_progress=-100
watcher=''

# Writes the request and its signature. Repetitions send these very bytes, until the time stamp is old.
sign_request() {
    local body
    stamp=$(date +%s)
    # All of them are checked: nothing in them needs an escape.
    body="{\"image_sha\":\"$sha\",\"service\":\"$service\",\"delivery_id\":\"$delivery\",\"timestamp\":$stamp"
    body+="${digest:+,\"image_digest\":\"$digest\"}}"
    hmac_sha256 "$secret" "$body"
    printf '%s' "$body" >"$work/request"
    printf 'X-Hub-Signature-256: sha256=%s\n' "$REPLY" >"$work/signature"
}

# Sends the request and sets `answer`. If there is a deployment, it can be watched from here on.
post_request() {
    call --header @"$work/signature" --header 'Content-Type: application/json' \
        --header 'Prefer: respond-async' --data-binary @"$work/request" "$url/deploy" || return 0
    json_read "$answer_body"
    if adopt_deployment; then
        answer=taken
        return
    fi
    json_text code
    case $answered_by/$http_status/$REPLY in
        cutover/408/* | cutover/429/* | cutover/503/*) answer=busy ;;
        cutover/409/in_progress | cutover/409/deployment_in_progress) answer=busy ;;
        cutover/*) answer=refused ;;
        other/429/*) answer=busy ;;
        # A proxy that lost the server, or a server that fell over: it may have the request.
        other/408/* | other/5*) answer=lost ;;
        *) answer=refused ;;
    esac
}

# Takes the deployment and the token that reads it out of the answer. Fails if they are not there.
adopt_deployment() {
    local id code
    json_text code
    code=$REPLY
    json_text deployment.id
    id=$REPLY
    if [[ $code == in_progress ]]; then
        id=${id:-${location##*/}}
    elif [[ $http_status != 20[02] ]]; then
        # A refusal may show another deployment, one that stands in the way.
        json_text deployment.delivery_id
        [[ $REPLY == "$delivery" ]] || return 1
    fi
    [[ $id =~ ^[A-Za-z0-9-]{1,64}$ ]] || return 1
    json_text watch_token
    # Without a token there is nothing to watch, which is well if there is nothing left to watch.
    if [[ $REPLY =~ ^[A-Za-z0-9._~+/=-]{1,512}$ ]]; then
        mask "$REPLY"
        printf 'Authorization: Bearer %s\n' "$REPLY" >"$work/token"
    elif ! ended; then
        return 1
    fi
    deployment=$id
}

# Reads the deployment into JSON, or sets `answer` and fails.
fetch_deployment() {
    call --header @"$work/token" "$url/v1/deployments/$deployment" || return 1
    if [[ $http_status == 200 ]]; then
        case $answer_body in
            '{"deployment":'*) json_read "$answer_body" ;;
            *) json_read "$answer_body" deployment ;;
        esac
        json_text deployment.id
        [[ $REPLY != "$deployment" ]] || return 0
    fi
    answer=lost
    case $answered_by/$http_status in
        cutover/401 | cutover/403 | cutover/404) answer=refused ;;
    esac
    return 1
}

# Sends one request with curl's arguments "$@" and reads the answer; fails, with `answer` set, if
# there is none.
call() {
    local line said
    answer_body='' location='' retry_after='' answered_by=other
    : >"$work/head"
    : >"$work/body"
    if said=$(curl --disable --silent --show-error --globoff --proto '=http,https' \
        --connect-timeout 10 --max-time 30 --user-agent cutover-action \
        --dump-header "$work/head" --output "$work/body" \
        --write-out '%{http_code} %{time_pretransfer}' "$@" 2>"$work/said"); then
        http_status=${said%% *}
    else
        # Before the pretransfer ends there is no connection for a request to go through.
        answer=lost
        [[ ! ${said##* } =~ ^0[.,]?0*$ ]] || answer=unreachable
        IFS= read -r answer_text <"$work/said" || true
        answer_text=${answer_text:-curl failed}
        return 1
    fi
    while IFS= read -r line; do
        line=${line%$'\r'}
        # The headers of an earlier answer, of a proxy for instance, come first.
        case $line in
            HTTP/*) location='' retry_after='' answered_by=other ;;
            [Ll]ocation:*) location=${line#*:} location=${location# } ;;
            [Rr]etry-[Aa]fter:*) retry_after=${line#*:} retry_after=${retry_after# } ;;
        esac
    done <"$work/head"
    [[ $retry_after =~ ^[1-9][0-9]{0,3}$ ]] || retry_after=''
    ((${retry_after:-0} <= 60)) || retry_after=60
    answer_body=$(tr -d '\0' <"$work/body")
    answer_text="HTTP status $http_status"
    json_field "$answer_body" code
    # cutover's codes are words, and it never answers 502 or 504: with those, a proxy speaks, also if it
    # speaks JSON.
    if [[ $http_status != 50[24] && $answer_body == '{'* && $REPLY =~ ^[a-z_]{1,64}$ ]]; then
        answered_by=cutover
        answer_text+=", $REPLY"
        json_field "$answer_body" detail
        answer_text+=${REPLY:+: $REPLY}
    fi
}

# Shows the events as they come, until the stream ends or is silent for too long. Fails if nothing
# came.
watch_events() {
    local line field value kind='' json='' heard=no limit
    cp "$work/token" "$work/watch"
    ((last_seq == 0)) || printf 'Last-Event-ID: %s\n' "$last_seq" >>"$work/watch"
    curl --disable --silent --globoff --proto '=http,https' --connect-timeout 10 --no-buffer --fail \
        --user-agent cutover-action --header @"$work/watch" --header 'Accept: text/event-stream' \
        "$url/v1/deployments/$deployment/events" >"$work/stream" 2>"$work/said" &
    watcher=$!
    exec 3<"$work/stream"
    while ((SECONDS < deadline)); do
        limit=$((deadline - SECONDS < silence_seconds ? deadline - SECONDS : silence_seconds))
        IFS= read -r -t "$limit" line <&3 || break
        line=${line%$'\r'}
        field=${line%%:*} value=${line#*:} value=${value# }
        case $field in
            event) kind=$value ;;
            data) json+=$value ;;
            '')
                heard=yes
                # A comment begins with the colon; an empty line ends the event.
                [[ -z $line ]] || continue
                [[ $kind != outcome ]] || break
                show_message "$kind" "$json"
                kind='' json=''
                ;;
        esac
    done
    stop_watching
    [[ $heard == yes ]]
}

# Ends the connection on which the events come.
stop_watching() {
    [[ -n $watcher ]] || return 0
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    exec 3<&-
    watcher=''
}

# Shows one message of the stream: its kind $1 and its JSON $2.
show_message() {
    local seq status current
    case $1 in
        journal)
            json_field "$2" seq
            seq=$REPLY
            json_field "$2" status
            status=$REPLY
            json_field "$2" message
            show_event "$seq" "$status" "$REPLY"
            ;;
        output)
            json_field "$2" line
            show "$service | $REPLY"
            ;;
        progress)
            ((SECONDS - last_progress >= progress_seconds)) || return 0
            json_field "$2" current_bytes
            current=$REPLY
            json_field "$2" total_bytes
            # A total of nothing is one that the registry has not said yet.
            [[ $current =~ ^[0-9]{1,15}$ && $REPLY =~ ^[1-9][0-9]{0,14}$ ]] || return 0
            last_progress=$SECONDS
            show "pulled $(bytes "$current") of $(bytes "$REPLY")"
            ;;
    esac
}

# Shows the event number $1 of the journal, with the status $2 and the text $3, unless that was done.
show_event() {
    [[ $1 =~ ^[0-9]{1,15}$ ]] || return 0
    (($1 > last_seq)) || return 0
    last_seq=$1
    case $2 in
        queued) open_section Queue ;;
        pulling) open_section Pull ;;
        staging) open_section Stage ;;
        switching) open_section Switch ;;
        verifying) open_section Verify ;;
        committed) open_section Commit ;;
        rolling_back) open_section 'Roll back' ;;
    esac
    short_hashes "$3"
    show "$REPLY"
}

# Shows those events of the deployment in JSON that did not come through the stream.
show_missed_events() {
    local index=0 seq status
    while [[ -n ${JSON[deployment.events.$index.seq]-} ]]; do
        json_text "deployment.events.$index.seq"
        seq=$REPLY
        json_text "deployment.events.$index.status"
        status=$REPLY
        json_text "deployment.events.$index.message"
        show_event "$seq" "$status" "$REPLY"
        index=$((index + 1))
    done
}
