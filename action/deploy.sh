#!/usr/bin/env bash
# Asks a cutover server for one deployment, follows it to its end and says how it ended.
#
# Needs bash 4, curl 7.68 and openssl. What to do comes in through the environment:
#
#   CUTOVER_URL               the server's address, https://deploy.example.com:8443
#   CUTOVER_SERVICE           the service, as the server's configuration names it
#   CUTOVER_SHA               the image tag to run
#   CUTOVER_DIGEST            the manifest digest that the tag must have, any if empty
#   CUTOVER_SECRET            the secret that signs the request
#   CUTOVER_TIMEOUT_MINUTES   how long to follow the deployment, 30 if empty
#   CUTOVER_PATIENCE_SECONDS  how long a server may be out of reach, 120 if empty
#   GITHUB_…                  what every runner sets
#
# Exit status, as of `cutover deploy`: 0 succeeded or unchanged, 1 failed or refused and nothing was
# changed, 2 wrong usage, 3 rolled back, 4 an operator is needed or the first deployment failed, 5 the
# server cannot be reached or the outcome is not known, 130 the job was stopped.
#
# The deployment belongs to the server once it is accepted: a runner that is stopped, or that loses
# its connection, changes nothing about it.
set -euo pipefail

if ((BASH_VERSINFO[0] < 4)); then
    printf '::error title=Wrong usage::this needs bash 4 or newer, and found %s\n' "$BASH_VERSION"
    exit 2
fi

# Bytes are bytes, and no message of a tool is translated.
export LC_ALL=C
umask 077

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=sign.sh
. "$here/sign.sh"
# shellcheck source=json.sh
. "$here/json.sh"
# shellcheck source=report.sh
. "$here/report.sh"
# shellcheck source=exchange.sh
. "$here/exchange.sh"

# The server refuses a request whose time stamp is 300 s old. A clock may be a little off.
readonly stamp_seconds=200

url='' service='' sha='' digest='' secret='' delivery=''
deadline=0 patience=0
work='' concluded=no

main() {
    trap on_exit EXIT
    trap on_signal INT TERM
    read_inputs
    work=$(mktemp -d)
    mkfifo "$work/stream" "$work/never"
    exec 4<>"$work/never"
    short_hashes "$sha"
    tell "Deploying $REPLY as $service at $url"
    request_deployment
    follow_deployment
    conclude
}

# Takes over and checks everything that comes in.
read_inputs() {
    url=${CUTOVER_URL-} service=${CUTOVER_SERVICE-} sha=${CUTOVER_SHA-}
    digest=${CUTOVER_DIGEST-} secret=${CUTOVER_SECRET-}
    # What is not exported is not inherited by curl and the others.
    unset CUTOVER_SECRET
    while [[ $secret == *[$'\r\n'] ]]; do secret=${secret%?}; done
    [[ -z $secret ]] || mask "$secret"

    local tool
    for tool in curl openssl grep; do
        command -v "$tool" >/dev/null ||
            wrong_usage "there is no $tool on this runner" "Install $tool before this step."
    done
    local minutes=${CUTOVER_TIMEOUT_MINUTES:-30}
    patience=${CUTOVER_PATIENCE_SECONDS:-120}
    url=${url%/}
    [[ -n $secret ]] ||
        wrong_usage 'the input "secret" is empty' \
            'Store it with "gh secret set CUTOVER_SECRET" and pass it on. Runs for pull requests from forks get no secrets.'
    [[ $url =~ ^https://[^/?#@[:space:]]+(/[^?#[:space:]]*)?$ ||
        $url =~ ^http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?$ ]] ||
        wrong_usage 'the input "url" is not an https:// address' \
            'Give the address of the server, such as https://deploy.example.com:8443. Plain http:// is for the machine itself.'
    [[ $url != */deploy ]] ||
        wrong_usage 'the input "url" ends with /deploy' 'Give the address of the server without a path.'
    [[ $service =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$ ]] ||
        wrong_usage 'the input "service" is not a name' \
            'Give the name that the server has under [services].'
    [[ $sha =~ ^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$ ]] ||
        wrong_usage 'the input "sha" is not an image tag' 'Give the tag that the image was pushed with.'
    [[ -z $digest || $digest =~ ^sha256:[0-9a-f]{64}$ ]] ||
        wrong_usage 'the input "digest" is not a manifest digest' \
            'Give sha256: and 64 hexadecimal digits, as the push prints them, or leave it out.'
    [[ $minutes =~ ^[1-9][0-9]{0,3}$ ]] ||
        wrong_usage 'the input "timeout-minutes" is not a number of minutes' 'Give a whole number, 1 to 9999.'
    [[ $patience =~ ^[1-9][0-9]{0,3}$ ]] ||
        wrong_usage 'CUTOVER_PATIENCE_SECONDS is not a number of seconds' 'Give a whole number, 1 to 9999.'
    deadline=$((SECONDS + minutes * 60))

    # One attempt of one run deploys a release once, however often the request is sent; running the
    # job again is a new attempt, and a new deployment. Service and tag go in as a hash, for an id has
    # a bounded length.
    local run=github.${GITHUB_REPOSITORY_ID-}.${GITHUB_RUN_ID-}.${GITHUB_RUN_ATTEMPT-}
    local release
    release=$(printf '%s %s' "$service" "$sha" | openssl dgst -sha256 | grep -oE '[0-9a-f]{64}$')
    delivery=$run.${release:0:32}
    [[ $run =~ ^github\.[0-9]+\.[0-9]+\.[0-9]+$ ]] ||
        wrong_usage 'GITHUB_REPOSITORY_ID, GITHUB_RUN_ID or GITHUB_RUN_ATTEMPT is not a number' \
            'Runners set these; elsewhere, set them so that no two deployments have the same.'
}

# Sends the request until the server has taken it, or has refused it for good.
request_deployment() {
    local began=$SECONDS delay=1 maybe_taken=no
    sign_request
    while :; do
        post_request
        case $answer in
            taken) return ;;
            refused) refused "$maybe_taken" ;;
            busy) began=$SECONDS ;;
            lost) maybe_taken=yes ;;
            unreachable) ;;
        esac
        if ((SECONDS >= deadline)) || { [[ $answer != busy ]] && ((SECONDS - began >= patience)); }; then
            not_taken "$maybe_taken"
        fi
        [[ $answer != busy || -z $retry_after ]] || delay=$retry_after
        show "$answer_text; trying again in $delay s"
        pause "$delay"
        delay=$((delay < 8 ? delay * 2 : 15))
        # A delivery is the same whatever its time stamp, so it cannot deploy twice.
        if (($(date +%s) - stamp >= stamp_seconds)); then sign_request; fi
    done
}

# Watches the deployment until it has ended, through any number of lost connections.
follow_deployment() {
    local heard=$SECONDS delay=1
    tell "Deployment $deployment"
    while ! ended; do
        if watch_events; then
            heard=$SECONDS delay=1
        fi
        if fetch_deployment; then
            heard=$SECONDS
            show_missed_events
            ! ended || return 0
        elif [[ $answered_by/$http_status == cutover/@(429|503) ]]; then
            # It is there, if only to say that it is putting things right after a start.
            heard=$SECONDS
        fi
        if ((SECONDS >= deadline)); then
            outcome_unknown "no outcome after ${CUTOVER_TIMEOUT_MINUTES:-30} minutes" 'Raise timeout-minutes if deployments take this long.'
        elif [[ $answer == refused ]]; then
            outcome_unknown "the server does not show the deployment any more ($answer_text)"
        elif ((SECONDS - heard >= patience)); then
            outcome_unknown "the connection was lost and not found again for $patience s ($answer_text)"
        fi
        pause "$delay"
        delay=$((delay < 8 ? delay * 2 : 15))
    done
    show_missed_events
}

# Whether the deployment has ended, as far as is known.
ended() {
    json_text deployment.outcome
    [[ -n $REPLY ]]
}

# Reports the outcome of the deployment, and ends the script.
conclude() {
    local outcome detail hint proof release
    short_hashes "$sha"
    release=$REPLY
    json_text deployment.cause.detail
    short_hashes "$REPLY"
    detail=$REPLY
    json_text deployment.cause.hint
    hint=$REPLY
    json_text deployment.proof
    proof=${REPLY:+ ($REPLY)}
    json_text deployment.outcome
    outcome=$REPLY
    case $outcome in
        succeeded) finish 0 "$outcome" "✅ Deployed: $service runs $release$proof" '' '' ;;
        unchanged) finish 0 "$outcome" "✅ Unchanged: $service already ran $release$proof" '' '' ;;
        failed) finish 1 "$outcome" "❌ Failed, nothing was changed: $service runs what it ran before" "$detail" "$hint" ;;
        cancelled) finish 1 "$outcome" "🚫 Cancelled, nothing was changed: $service runs what it ran before" "$detail" "$hint" ;;
        rolled_back) rolled_back "$detail" "$hint" ;;
        rollback_failed) rollback_failed "$detail" "$hint" ;;
        *) outcome_unknown 'the server reports an outcome that this version of the action does not know' \
            'Use the release of the action that belongs to the server.' ;;
    esac
}

# Reports a rollback, and ends the script. A container that was not in order before is put back as it was.
rolled_back() {
    local now="$service runs the previous release again$proof"
    json_text deployment.previous.condition
    case $REPLY in
        unhealthy | stopped) now="the previous container is back as it was found, which is $REPLY" ;;
    esac
    finish 3 rolled_back "↩️ Rolled back: $release failed, $now" "$1" "$2"
}

# Reports a deployment that could not be rolled back, and ends the script. Where nothing ran before, no
# operator is needed: the next release is the remedy.
rollback_failed() {
    local heading="🚨 An operator is needed: $service could not be rolled back"
    json_text deployment.cause.code
    if [[ $REPLY == no_rollback_target ]]; then
        heading="❌ Failed: $service does not run; this was its first deployment"
    fi
    finish 4 rollback_failed "$heading" "$1" "$2"
}

# Reports that the server refused the request, and ends the script. $1: whether it may have got the
# request before, all the same.
refused() {
    local heading detail code
    if [[ $answered_by != cutover ]]; then
        [[ $1 == no ]] ||
            outcome_unknown "the answer of the server was lost, and then something else answered in its place ($answer_text)"
        finish 5 failed '❌ Not reached, nothing was changed: something else answered in place of cutover' \
            "$url/deploy answered with HTTP status $http_status, and not in the way of a cutover server" \
            'Check the input "url", and the proxy in front of the server if there is one.'
    fi
    json_text code
    code=$REPLY
    # It stands in the heading, which the runner reads: nothing but a code may.
    [[ $code =~ ^[a-z_]{1,64}$ ]] || code=unknown
    heading="❌ Refused, nothing was changed: $code (HTTP status $http_status)"
    if [[ $code == operator_action_required ]]; then
        heading="🚨 An operator is needed before $service can be deployed; nothing was changed"
    fi
    json_text detail
    # The heading says it already.
    detail=${REPLY%; nothing was changed}
    json_text hint
    finish 1 failed "$heading" "$detail" "$REPLY"
}

# Reports that the server could not be asked, and ends the script. $1: whether it may have got the
# request all the same.
not_taken() {
    if [[ $1 == yes ]]; then
        outcome_unknown "the answer of the server was lost ($answer_text)"
    elif [[ $answer == busy ]]; then
        finish 1 failed "❌ Not accepted in time, nothing was changed: $service runs what it ran before" "$answer_text" \
            'Run the job again when the server accepts deployments.'
    fi
    finish 5 failed '❌ Not reached, nothing was changed: the server does not answer' "$answer_text" \
        'Check the input "url", and that the server runs and can be reached from this runner.'
}

# Reports that the deployment may still go on or may have ended in any way, and ends the script: why
# $1, what to do $2, the exit status $3.
outcome_unknown() {
    local hint=${2:-Look at the server: \`cutover history $service\` shows how it ended. Running this job again is safe.}
    [[ -z $deployment ]] ||
        hint="The deployment goes on without this job. On the server, \`cutover show $deployment\` shows how it ended.${2:+ $2}"
    finish "${3:-5}" unknown "❓ Outcome not known: $service may have been changed" "$1" "$hint"
}

# Reports a mistake in the workflow, and ends the script.
wrong_usage() {
    finish 2 failed '❌ Wrong usage, nothing was changed' "$1" "$2"
}

# Ends the script with the exit status $1 and the outcome $2, after saying it in the log, on the page
# of the run, on the page of the job, and in the outputs: the heading $3, what happened $4, what to
# do $5.
finish() {
    local nothing_changed
    concluded=yes
    stop_watching
    # A refusal may show another deployment.
    [[ -n $deployment ]] || JSON=()
    close_section
    tell "$3"
    [[ -z $4 ]] || show "$4"
    show_output
    [[ -z $5 ]] || show "What to do: $5"
    if (($1 != 0)); then
        annotation_output
        annotate "${3#* }" "${4:-See the page of the job.}$REPLY${5:+$'\n'What to do: $5}"
    fi
    tell ''
    summary "$3" "$4" "$5" >>"${GITHUB_STEP_SUMMARY:-/dev/null}"

    json_text deployment.nothing_changed
    nothing_changed=$REPLY
    [[ $nothing_changed == true || $nothing_changed == false ]] || nothing_changed=
    case $2 in
        unknown) nothing_changed='' ;;
        failed) nothing_changed=${nothing_changed:-true} ;;
    esac
    {
        printf 'outcome=%s\n' "$2"
        printf 'deployment=%s\n' "$deployment"
        printf 'nothing-changed=%s\n' "$nothing_changed"
    } >>"${GITHUB_OUTPUT:-/dev/null}"
    exit "$1"
}

# Whatever ends the script: nothing of it stays behind, and no accident passes for an outcome.
# shellcheck disable=SC2317 # called by a trap
on_exit() {
    local status=$?
    trap - EXIT
    stop_watching
    [[ -z $work ]] || rm -rf "$work"
    if [[ $concluded == no ]]; then
        annotate 'Outcome not known' "the script of the action ended unexpectedly with status $status"
        status=5
    fi
    exit "$status"
}

# Says what the end of the job means for the deployment: nothing.
# shellcheck disable=SC2317 # called by a trap
on_signal() {
    trap '' INT TERM
    outcome_unknown 'the job was stopped' '' 130
}

# Waits $1 seconds. Unlike `sleep`, this lets a signal through at once.
pause() {
    read -r -t "$1" -u 4 || true
}

main
