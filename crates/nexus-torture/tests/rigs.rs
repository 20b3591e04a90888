//! The rigs as processes, each for a moment: that they run to the end and find nothing in a store
//! that keeps its promises.

use std::process::Command;

fn rig(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_nexus-torture")).args(arguments).output().unwrap();
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
fn an_unknown_rig_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_nexus-torture")).arg("flood").output().unwrap();
    assert!(!output.status.success());
}
