//! The command `nexus-fs`. Everything is in the library of this crate.

fn main() -> std::process::ExitCode {
    nexus_cli::main()
}
