//! The rigs of `nexus-torture`: processes killed, power cut, bytes flipped. A short form in `test-all`, the long one
//! by hand.

use std::process::{Command, Stdio};

use crate::Result;
use crate::shell::Shell;
use crate::steps::Outcome;

/// How much the short form does, and how much the long one.
const SHORT: &[(&str, &[&str])] = &[
    ("kill", &["--rounds", "200"]),
    ("power", &["--images", "2000"]),
    ("flip", &["--cases", "1200"]),
    ("faults", &["--cases", "400"]),
    ("collector", &["--ops", "20000"]),
    ("many", &["--puts", "1000", "--uri-options", "layout=cas&durability=process"]),
];
const LONG: &[(&str, &[&str])] = &[
    ("kill", &["--rounds", "10000"]),
    ("power", &["--images", "100000"]),
    ("flip", &["--cases", "40000"]),
    ("faults", &[]),
    ("collector", &["--ops", "1000000"]),
    ("many", &["--puts", "10000"]),
];

/// The long form, or one rig with arguments of its own.
pub(crate) fn run(arguments: &[String]) -> Result {
    let shell = Shell::interactive();
    ensure_tools(&shell)?;
    match arguments {
        [] => rigs(&shell, LONG),
        arguments => {
            let mut rig = rig(&shell);
            shell.run(rig.args(arguments))
        }
    }
}

/// The short form.
pub(crate) fn step(shell: &Shell) -> Result<Outcome> {
    ensure_tools(shell)?;
    rigs(shell, SHORT).map(|()| Outcome::Done)
}

fn rigs(shell: &Shell, plan: &[(&str, &[&str])]) -> Result {
    plan.iter().try_for_each(|(name, arguments)| shell.run(rig(shell).arg(name).args(*arguments)))
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
