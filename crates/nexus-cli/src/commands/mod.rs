//! The commands, one file each or a family.

mod adopt;
mod care;
mod copy;
mod doctor;
mod edit;
mod find;
mod grep;
mod list;
mod mount;
mod read;
mod remove;
mod shell;
mod stat;
mod write;

use nexus_fs::CollectOptions;

use crate::args::{Arguments, Command};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::output::Output;
use crate::session::Session;

/// Runs a command. What fails as a whole is the error; what fails in part is in the output's code.
pub(crate) async fn run(
    arguments: &Arguments,
    environment: &Environment,
    output: &Output,
) -> Result<(), Failure> {
    match &arguments.command {
        Command::Completions { shell } => return shell::completions(*shell, output),
        Command::Man { dir } => return shell::man(dir.as_deref(), output),
        Command::Backends => return doctor::backends(output),
        Command::Mount(args) => return mount::mount(args, environment, output).await,
        Command::Unmount { mounts } => return mount::unmount(mounts, environment, output).await,
        Command::Doctor => {
            return doctor::doctor(environment, &arguments.global.mount, output).await;
        }
        _ => {}
    }
    let session = Session::new(environment, &arguments.global.mount).await?;
    let done = with_session(&arguments.command, &session, output).await;
    // What was asked for is done or failed; a mount that does not close changes neither.
    if let Err(error) = session.kernel.close().await {
        output.note(&format!("warning: {error}"));
    }
    done
}

async fn with_session(
    command: &Command,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Command::Ls(args) => list::ls(args, session, output).await,
        Command::Tree { path, depth } => list::tree(path, *depth, session, output).await,
        Command::Du { paths, physical: true, .. } => care::physical(paths, session, output).await,
        Command::Du { paths, summarize, .. } => {
            let all = ["/".to_owned()];
            let paths = if paths.is_empty() { &all } else { paths.as_slice() };
            list::du(paths, *summarize, session, output).await
        }
        Command::Verify { path, resume, older } => {
            let what = care::What::of(*resume, older.as_deref())?;
            care::verify(path.as_deref(), what, session, output).await
        }
        Command::Gc { path, delete, force } => {
            let options = CollectOptions { delete: *delete, force: *force };
            care::gc(path.as_deref(), options, session, output).await
        }
        Command::Stat { paths } => stat::stat(paths, session, output).await,
        Command::Cat { paths, range } => read::cat(paths, range.as_deref(), session, output).await,
        Command::Head { paths, lines, bytes } => {
            read::head(paths, *lines, *bytes, session, output).await
        }
        Command::Write(args) => write::write(args, session, output).await,
        Command::Cp(args) => copy::cp(args, session, output).await,
        Command::Import(args) => adopt::import(args, session, output).await,
        Command::Export(args) => adopt::export(args, session, output).await,
        Command::Mv(args) => copy::mv(args, session, output).await,
        Command::Rm { paths, recursive, force } => {
            remove::rm(paths, *recursive, *force, session, output).await
        }
        Command::Mkdir { paths, parents } => remove::mkdir(paths, *parents, session, output).await,
        Command::Find(args) => find::find(args, session, output).await,
        Command::Glob { pattern } => find::glob(pattern, session, output).await,
        Command::Grep(args) => grep::grep(args, session, output).await,
        Command::Edit(args) => edit::edit(args, session, output).await,
        Command::Mount(_)
        | Command::Unmount { .. }
        | Command::Backends
        | Command::Doctor
        | Command::Completions { .. }
        | Command::Man { .. } => Err(Failure::internal("the command was not run")),
    }
}

/// Does something for each of several operands; one that fails is named, and the others go on.
async fn each<'a, F>(
    operands: &'a [String],
    output: &Output,
    mut act: impl FnMut(&'a str) -> F,
) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    for operand in operands {
        match act(operand).await {
            Ok(()) => {}
            // The reader is gone: nobody is there to go on for.
            Err(failure) if failure.message.is_empty() => return Err(failure),
            Err(failure) => output.one_failed(&failure),
        }
    }
    output.end_of(operands.len() as u64);
    Ok(())
}
