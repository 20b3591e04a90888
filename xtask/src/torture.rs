//! The rigs of `nexus-torture`: processes killed, power cut, bytes flipped, and more. A short form in
//! `test-all`, the long one by hand.

use std::process::{Command, Stdio};

use crate::Result;
use crate::shell::Shell;
use crate::steps::Outcome;

/// A mount that cuts large content, and what is larger than that.
const IN_CHUNKS: [&str; 4] = ["--uri-options", "layout=cas&chunking=cdc", "--most", "8388608"];

const PLAIN: [&str; 2] = ["--uri-options", "layout=plain&durability=full"];

/// A rig, how much it does in the short form and in the long one, and what else it is told.
type Plan =
    (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

const PLANS: &[Plan] = &[
    ("kill", &["--rounds", "200"], &["--rounds", "10000"], &[]),
    ("kill", &["--rounds", "40"], &["--rounds", "1000"], &IN_CHUNKS),
    ("power", &["--images", "2000"], &["--images", "100000"], &[]),
    ("power", &["--images", "200"], &["--images", "10000"], &PLAIN),
    ("power", &["--images", "200"], &["--images", "4000"], &IN_CHUNKS),
    ("flip", &["--cases", "1200"], &["--cases", "40000"], &[]),
    ("faults", &["--cases", "400"], &[], &[]),
    ("faults", &["--cases", "24"], &["--cases", "2000"], &IN_CHUNKS),
    ("collector", &["--ops", "20000"], &["--ops", "1000000"], &[]),
    ("collector", &["--ops", "4000"], &["--ops", "100000"], &IN_CHUNKS),
    (
        "many",
        &["--puts", "1000", "--uri-options", "layout=cas&durability=process"],
        &["--puts", "10000"],
        &[],
    ),
];

/// The long form, or one rig with arguments of its own.
pub(crate) fn run(arguments: &[String]) -> Result {
    let shell = Shell::interactive();
    ensure_tools(&shell)?;
    match arguments {
        [] => PLANS.iter().try_for_each(|(name, _, long, more)| all(&shell, name, long, more)),
        arguments => {
            let mut rig = rig(&shell);
            shell.run(rig.args(arguments))
        }
    }
}

/// The short form.
pub(crate) fn step(shell: &Shell) -> Result<Outcome> {
    ensure_tools(shell)?;
    PLANS.iter().try_for_each(|(name, short, _, more)| all(shell, name, short, more))?;
    Ok(Outcome::Done)
}

fn all(shell: &Shell, name: &str, arguments: &[&str], more: &[&str]) -> Result {
    shell.run(rig(shell).arg(name).args(arguments).args(more))
}

fn rig(shell: &Shell) -> Command {
    shell.cargo(&["run", "--quiet", "--package", "nexus-torture", "--"])
}

/// `strace` records the system calls of which power cuts are made, `faketime` gives processes other
/// clocks. They are in every distribution; where this is Debian and the user may, they are installed.
fn ensure_tools(shell: &Shell) -> Result {
    ["strace", "faketime"].into_iter().try_for_each(|tool| ensure(shell, tool))
}

/// Installs a program from the Debian package of its name, unless it is there.
fn ensure(shell: &Shell, tool: &str) -> Result {
    let there = || {
        let mut asked = Command::new(tool);
        let asked = asked.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    };
    if there() {
        return Ok(());
    }
    let mut apt = Command::new("apt-get");
    // Package lists that are old or missing are no reason to give up on a package that is there.
    let _ = shell.run(apt.args(["update", "-qq"]));
    let mut apt = Command::new("apt-get");
    let _ = shell.run(apt.args(["install", "-y", "-qq", "--no-install-recommends", tool]));
    if there() {
        return Ok(());
    }
    Err(format!("`{tool}` is missing: install it with the package manager of this system").into())
}
