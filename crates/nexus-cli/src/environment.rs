//! What the process was started with: the only place that reads variables, the home directory and
//! the terminal.

use std::io::IsTerminal;
use std::path::PathBuf;

use nexus_fs::{Kernel, Registry, Surroundings};

/// The surroundings of one run, read once.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    pub(crate) home: Option<PathBuf>,
    /// Where backends look for credentials.
    pub(crate) surroundings: Surroundings,
    /// Where state is kept; `None` when nothing says where.
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) no_color: bool,
    pub(crate) stdout_is_terminal: bool,
    pub(crate) stderr_is_terminal: bool,
    /// Columns of the terminal.
    pub(crate) width: usize,
}

impl Environment {
    #[allow(clippy::disallowed_methods, reason = "this is their one home")]
    pub(crate) fn of_process() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = variable("HOME").map(PathBuf::from);
        let state_home = variable("XDG_STATE_HOME").map(PathBuf::from);
        let default = if cfg!(target_vendor = "apple") {
            home.as_ref().map(|home| home.join("Library/Application Support"))
        } else {
            state_home.or_else(|| home.as_ref().map(|home| home.join(".local/state")))
        };
        let state_dir = variable("NEXUS_FS_STATE_DIR")
            .map(PathBuf::from)
            .or_else(|| default.map(|dir| dir.join("nexus-fs")));
        let stdout = std::io::stdout();
        let columns = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| size.ws_col);
        Self {
            surroundings: Surroundings::new(std::env::vars_os(), home.clone()),
            home,
            state_dir,
            no_color: variable("NO_COLOR").is_some(),
            stdout_is_terminal: stdout.is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            width: columns.filter(|columns| *columns > 0).map_or(80, usize::from),
        }
    }
    /// A kernel without mounts, whose backends look for credentials here.
    pub(crate) fn kernel(&self, registry: Registry) -> Kernel {
        Kernel::builder(registry).surroundings(self.surroundings.clone()).build()
    }
}
