//! In GitHub Actions: groups, annotations and a summary, and nothing that container output could command.

use cutover_api::deployment::{Deployment, Status};

use crate::binary::{Cutover, Ended, file};
use crate::server::{Act, End, Server};
use crate::views::{
    EVENTS, SHA, VIEW, answer, deployment, event, failed_first, journal, json, outcome, output,
    refusal,
};

/// A rollback whose container wrote all the wrong things.
fn hostile() -> Deployment {
    let mut end = deployment(Status::RolledBack);
    let cause = end.cause.as_mut().expect("a cause");
    cause.detail = "50% done, then:\n::add-mask::x ##[add-matcher]y".to_owned();
    end.log = vec![
        "::error::from the log".to_owned(),
        "some ```` back-ticks".to_owned(),
        "```".to_owned(),
    ];
    end
}

/// Runs a deployment like that under a runner; returns also the summary.
fn run_in_actions(events: Vec<String>, end: &Deployment) -> (Ended, String) {
    let server = Server::start();
    server
        .on(
            "POST /deploy",
            [Act::json(202, answer(&deployment(Status::Queued)))],
        )
        .on(EVENTS, [Act::Stream(events, End::Close)])
        .on(VIEW, [Act::json(200, json(end))]);
    let summary = file("what was there before\n");
    let ended = Cutover::local(&server, &["deploy", "app", SHA])
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", summary.path())
        .run();
    let text = std::fs::read_to_string(summary.path()).expect("the summary");
    (ended, text)
}

/// The lines that the runner would act on: a model of the runner's own reading of the log.
fn commands(log: &str) -> Vec<String> {
    let mut stopped: Option<String> = None;
    let mut commands = Vec::new();
    for line in log.lines() {
        let trimmed = line.trim_start();
        if let Some(token) = &stopped {
            if trimmed == format!("::{token}::") {
                stopped = None;
            }
        } else if let Some(token) = trimmed.strip_prefix("::stop-commands::") {
            stopped = Some(token.to_owned());
        } else if trimmed.starts_with("::") || line.contains("##[") {
            commands.push(trimmed.to_owned());
        }
    }
    assert_eq!(stopped, None, "commands stay stopped after the end:\n{log}");
    commands
}

#[test]
fn each_step_is_a_group_and_the_cause_an_annotation() {
    let end = hostile();
    let events = vec![
        journal(1, Status::Pulling, "the image is being pulled"),
        journal(2, Status::Verifying, "##[error]the container runs"),
        output("::error title=Hacked::by the log"),
        output("  ::set-output name=x::y"),
        output("##[add-mask]z"),
        journal(3, Status::RollingBack, "rolling back"),
        output("::stop-commands::token"),
        journal(4, Status::RolledBack, "rolled back"),
        outcome(&end),
    ];
    let (ended, _) = run_in_actions(events, &end);
    let ended = ended.with_code(3);
    let found = commands(&ended.stderr);
    insta::assert_snapshot!(found.join("\n"), @r"
    ::group::Pull
    ::endgroup::
    ::group::Verify
    ::endgroup::
    ::group::Roll back
    ::endgroup::
    ::error title=app%3A rolled back::50%25 done, then: ::add-mask::x ##[add-matcher]y%0A| ::error::from the log%0A| some ```` back-ticks%0A| ```%0Achanged: app runs ghcr.io/acme/shop:111111111111 again (healthy for 5 s)%0Anext: see its output
    ");
    assert!(
        ended.stderr.contains("::error title=Hacked::by the log"),
        "output is shown as it is"
    );
    assert_eq!(commands(&ended.stdout), [""; 0], "{}", ended.stdout);
}

#[test]
fn the_summary_survives_what_the_container_wrote() {
    let end = hostile();
    let (ended, summary) = run_in_actions(vec![outcome(&end)], &end);
    let ended = ended.with_code(3);
    insta::assert_snapshot!(summary, @r"
    what was there before
    ### ↩️ app: rolled back

    50% done, then: ::add-mask::x &#35;&#35;&#91;add-matcher&#93;y

    `````text
    ::error::from the log
    some ```` back-ticks
    ```
    `````

    | | |
    |---|---|
    | Image | <code>ghcr.io/acme/shop:3f2a9c1b0d4e</code> |
    | Digest | <code>sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd</code> |
    | Changed | app runs ghcr.io/acme/shop:111111111111 again &#40;healthy for 5 s&#41; |
    | Next | see its output |
    | Cause | <code>unhealthy</code> |
    | Outage | 240 ms |
    | Took | 12.3 s |
    | Deployment | <code>0197a3b4-0000-7000-8000-00000000abcd</code> |
    ");
    assert!(
        ended
            .stderr
            .contains("::group::The new container's last output"),
        "{}",
        ended.stderr
    );
    let mut foreign = commands(&ended.stderr);
    foreign.retain(|line| line.contains("from the log"));
    let [annotation] = foreign.as_slice() else {
        panic!("{foreign:#?}");
    };
    let (ours, quoted) = annotation.split_at("::error title=app%3A rolled back::".len());
    assert_eq!(ours, "::error title=app%3A rolled back::");
    assert!(
        quoted.contains("%0A| ::error::from the log%0A| some"),
        "{quoted}"
    );
}

#[test]
fn no_line_of_the_container_commands_the_runner_or_leaves_its_block() {
    let lines = [
        "::error::evil",
        " \t::add-mask::evil",
        "::stop-commands::evil",
        "##[error]evil",
        "x ##[add-path]evil",
        "\u{1b}[0m::warning::evil",
        "\u{feff}::notice::evil",
        "a\r::error::evil",
        "b\u{2028}::error::evil",
        "%0A::error::evil",
        "%0D%0A::error::evil",
        "</details></code></pre><script>evil</script>",
        "~~~ evil",
        "    ``````` evil",
        "| evil | [evil](https://evil.example) |",
    ];
    let mut end = deployment(Status::RolledBack);
    end.log = lines.map(str::to_owned).to_vec();
    end.events = vec![event(
        1,
        Status::RolledBack,
        "bad |\n| </details>\n\n```\n::error::bad",
    )];
    for live in [true, false] {
        let mut events: Vec<String> = if live {
            lines.iter().map(|line| output(line)).collect()
        } else {
            Vec::new()
        };
        events.push(outcome(&end));
        let (ended, summary) = run_in_actions(events, &end);
        let ended = ended.with_code(3);
        for command in commands(&ended.stderr) {
            let ours = [
                "::group::",
                "::endgroup::",
                "::error title=app%3A rolled back::the new",
            ];
            assert!(
                ours.iter().any(|ours| command.starts_with(ours)),
                "{command}"
            );
            assert!(!command.contains("##["), "{command}");
        }
        assert_eq!(commands(&ended.stdout), [""; 0], "{}", ended.stdout);

        let (before, rest) = summary.split_once("````````text\n").expect("a block");
        let (block, after) = rest.split_once("\n````````\n").expect("its end");
        assert!(!block.contains("````````"), "{block}");
        assert_eq!(block.matches("evil").count(), 17, "{block}");
        assert!(
            !before.contains("evil") && !after.contains("evil"),
            "{summary}"
        );
        let events = "\n<details><summary>What happened</summary>\n\n\
            | time | step | event |\n|---|---|---|\n\
            | 2026-01-02T03:04:06Z | rolled back | bad &#124; &#124; &#60;/details&#62;  \
            &#96;&#96;&#96; ::error::bad |\n\n</details>\n\n";
        assert!(after.ends_with(events), "{after}");
    }
}

#[test]
fn a_success_has_no_annotation() {
    let end = deployment(Status::Succeeded);
    let (ended, summary) = run_in_actions(vec![outcome(&end)], &end);
    let ended = ended.with_code(0);
    assert!(!ended.stderr.contains("::error"), "{}", ended.stderr);
    assert!(summary.contains("✅ app: succeeded"), "{summary}");
}

#[test]
fn a_refusal_is_annotated_and_summarized() {
    let server = Server::start();
    server.on(
        "POST /deploy",
        [Act::json(403, json(&refusal(403, "forbidden")))],
    );
    let summary = file("");
    let ended = Cutover::local(&server, &["deploy", "app", SHA])
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", summary.path())
        .run()
        .with_code(1);
    assert!(
        ended.stderr.contains(
            "::error title=app%3A not deployed::refused because of forbidden%0Anext: do something about forbidden\n"
        ),
        "{}",
        ended.stderr
    );
    let summary = std::fs::read_to_string(summary.path()).expect("the summary");
    assert!(
        summary.contains("refused because of forbidden"),
        "{summary}"
    );
}

#[test]
fn a_first_deployment_that_fails_asks_for_no_operator() {
    let end = failed_first();
    let (ended, summary) = run_in_actions(vec![outcome(&end)], &end);
    let ended = ended.with_code(4);
    assert!(
        ended.stderr.contains("::error title=app%3A failed::"),
        "{}",
        ended.stderr
    );
    assert!(summary.contains("### ❌ app: failed\n"), "{summary}");
    assert!(
        summary.contains("| Changed | app does not run; this was its first deployment |"),
        "{summary}"
    );
}
