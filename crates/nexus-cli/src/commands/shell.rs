//! `completions` and `man`: what other programs read of this one.

use std::path::Path;

use clap::CommandFactory;

use crate::args::Arguments;
use crate::exit::Failure;
use crate::output::Output;

pub(crate) fn completions(shell: clap_complete::Shell, output: &Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "nexus-fs", &mut script);
    output.bytes(&script)
}

pub(crate) fn man(dir: Option<&Path>, output: &Output) -> Result<(), Failure> {
    match dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Arguments::command())
                .render(&mut page)
                .map_err(|error| Failure::internal(error.to_string()))?;
            output.bytes(&page)
        }
        Some(dir) => {
            let about =
                |error: std::io::Error| Failure::internal(format!("{}: {error}", dir.display()));
            std::fs::create_dir_all(dir).map_err(about)?;
            clap_mangen::generate_to(Arguments::command(), dir).map_err(about)
        }
    }
}
