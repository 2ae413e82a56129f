//! The runner: what passes, fails, takes too long, is not there.

use agent::validate::{Place, Suite, run};
use fleet::observed::{TestOutcome, TestResult};
use std::fs;

async fn check(tests: &str) -> Vec<TestResult> {
    let folder = tempfile::tempdir().unwrap();
    let suite = Suite::parse(&format!("name = \"s\"\n{tests}")).unwrap();
    let mut heard = Vec::new();
    let place = Place { folder: folder.path().into(), level: 1 };
    let results = run(&suite, &place, |it| heard.push(it.clone())).await;
    assert_eq!(heard, results, "each is told as it comes");
    results
}

#[tokio::test]
async fn pass_fail_threshold_and_missing() {
    let results = check(
        r#"
        [[test]]
        name = "passes"
        command = ["sh", "-c", "echo 12.5 GB/s"]
        threshold = ">= 12 GB/s"
        timeout_s = 60
        [[test]]
        name = "too slow"
        command = ["sh", "-c", "echo 11.5 GB/s"]
        threshold = ">= 12 GB/s"
        timeout_s = 60
        [[test]]
        name = "no number"
        command = ["sh", "-c", "echo fine"]
        threshold = ">= 12 GB/s"
        timeout_s = 60
        [[test]]
        name = "fails"
        command = ["sh", "-c", "echo 13; echo broken >&2; exit 3"]
        threshold = ">= 12 GB/s"
        timeout_s = 60
        [[test]]
        name = "not here, allowed"
        command = ["no-such-tool"]
        needs = ["no-such-tool"]
        optional = true
        timeout_s = 60
        [[test]]
        name = "not here, wanted"
        command = ["no-such-tool"]
        needs = ["no-such-tool"]
        timeout_s = 60
        [[test]]
        name = "not here, not said"
        command = ["no-such-tool"]
        timeout_s = 60
        [[test]]
        name = "ours"
        builtin = "memory"
        size = 1
        timeout_s = 60
        [[test]]
        name = "too thorough"
        builtin = "memory"
        level = 2
        timeout_s = 60
        "#,
    )
    .await;
    let outcomes: Vec<_> = results.iter().map(|it| (it.name.as_str(), it.outcome)).collect();
    use TestOutcome::{Failed, Passed, Skipped};
    assert_eq!(
        outcomes,
        [
            ("passes", Passed),
            ("too slow", Failed),
            ("no number", Failed),
            ("fails", Failed),
            ("not here, allowed", Skipped),
            ("not here, wanted", Failed),
            ("not here, not said", Failed),
            ("ours", Passed),
        ]
    );
    assert_eq!((results[0].threshold.as_str(), results[0].value.as_str()), (">= 12 GB/s", "12.5 GB/s"));
    assert!(results[3].value.contains("broken") && results[3].value.contains("exit status: 3"), "{}", results[3].value);
    assert!(results[4].value.contains("no-such-tool"));
}

/// The child of the child too: its end is seen by the pipe that it holds.
#[tokio::test]
async fn a_test_that_takes_too_long_dies_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, alive) = (folder.path().join("pipe"), folder.path().join("alive"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let script = format!("(exec 9>{}; echo $$ > {}; sleep 600) & sleep 600", pipe.display(), alive.display());
    let test = format!("[[test]]\nname = \"hangs\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\ntimeout_s = 1");
    // Reads until every writer is gone: ends only when the grandchild is dead.
    let reader = tokio::task::spawn_blocking(move || fs::read(pipe).unwrap());
    let results = check(&test).await;
    assert_eq!(results[0].outcome, TestOutcome::TimedOut);
    assert!(results[0].value.contains("killed after 1 s"), "{}", results[0].value);
    assert!(reader.await.unwrap().is_empty());
    assert!(alive.exists(), "it ran");
}

#[tokio::test]
async fn output_is_bounded() {
    let results = check(
        "[[test]]\nname = \"loud\"\ncommand = [\"sh\", \"-c\", \"yes 'words and words' | head -c 3000000; echo 7\"]\nthreshold = \">= 7 x\"\ntimeout_s = 60",
    )
    .await;
    assert_eq!(results[0].outcome, TestOutcome::Passed);
    assert!(results[0].value.len() <= agent::wire::TEXT_MAX);
}
