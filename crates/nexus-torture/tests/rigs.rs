//! The rigs as processes, each for a moment: that they run to the end and find nothing in a store
//! that keeps its promises.

use std::process::{Command, Output};

#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nexus-torture")).args(arguments).output().unwrap()
}

fn rig(arguments: &[&str]) -> String {
    let output = run(arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}{errors}");
    text
}

#[test]
fn killed_processes_leave_a_store_that_holds() {
    let text = rig(&["kill", "--rounds", "8"]);
    assert!(text.starts_with("kill: 8 rounds, "), "{text}");
    assert!(text.contains("0 refused, 0 lost, 0 torn, 0 dangling, 0 extra"), "{text}");
}

#[test]
fn processes_that_put_the_same_share_it() {
    let text = rig(&["many", "--puts", "60"]);
    assert!(text.starts_with("many: 4 processes, 60 puts each: 60 files, "), "{text}");
    assert!(text.contains("; 0 findings "), "{text}");
}

#[test]
fn damage_to_a_description_is_told() {
    let text = rig(&["flip", "--cases", "60", "--only", "store.json"]);
    assert!(text.starts_with("flip: "), "{text}");
    assert!(
        text.contains("; 0 wrong, 0 extra, 0 untold, 0 taken, 0 untyped, 0 panicked, 0 hung"),
        "{text}"
    );
}

#[test]
fn an_unknown_rig_is_refused() {
    assert!(!run(&["flood"]).status.success());
}

#[test]
fn without_a_recorder_the_power_rig_says_what_is_missing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexus-torture"));
    let output = command.args(["power", "--images", "1"]).env("PATH", "/nowhere").output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("`strace` is not installed"), "{text}");
}
