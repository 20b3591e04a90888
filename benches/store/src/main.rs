//! `layout=cas` beside `layout=plain` and the bare disk, in one folder, in one run.
//!
//! Everything is as durable as it gets, unless a row says otherwise: all mounts have `durability=full`,
//! and the disk is used with fsync. Contestants take turns, another one first in each round; the first
//! round warms up, and the median of the others counts.
//!
//! `--quick` for small sizes, `--only NAME` for the rows whose name contains NAME, `--dir DIR` for
//! another disk than that of temporary files.

mod contestants;
mod rows;
mod table;

use std::path::PathBuf;

use contestants::{Disk, Mount, Result};
use rows::{ROWS, Run, Sizes};

const NOTES: &str = "\
cas/plain: how many times as fast as plain files; more is faster. Writes are on the disk when they
are timed; reads come from the page cache. Both mounts check what they read; the disk checks nothing.
Median of the rounds; contestants take turns.";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut only, mut sizes, mut dir) = (String::new(), Sizes::FULL, std::env::temp_dir());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => sizes = Sizes::QUICK,
            "--only" => only = arguments.next().ok_or("--only takes a name")?,
            "--dir" => dir = PathBuf::from(arguments.next().ok_or("--dir takes a directory")?),
            _ => {
                let known = "--quick, --only NAME, --dir DIR";
                return Err(format!("`{argument}`? Known: {known}").into());
            }
        }
    }
    let chosen: Vec<_> = ROWS.iter().filter(|row| row.name.contains(&only)).collect();
    if chosen.is_empty() {
        return Err(format!("no row is called `{only}`").into());
    }
    let folder = tempfile::tempdir_in(dir)?;
    let mount = |name: &str, options: &'static str| Mount::new(folder.path().join(name), options);
    let run = Run {
        sizes,
        cas: mount("cas", "layout=cas&durability=full").await?,
        chunks: mount("chunks", "layout=cas&chunking=cdc&durability=full").await?,
        plain: mount("plain", "layout=plain&durability=full").await?,
        disk: Disk::new(folder.path().join("disk"))?,
    };
    println!("one fsync of 1 KiB: {}\n", table::time(run.disk.sync_latency(run.sizes.small)?));
    println!("{}", table::heading());
    let mut missed = 0;
    for row in chosen {
        for line in (row.run)(&run).await? {
            missed += usize::from(!line.is_met());
            println!("{line}");
        }
    }
    println!("\n{NOTES}");
    match missed {
        0 => println!("every target is met"),
        missed => println!("{missed} targets are missed"),
    }
    Ok(())
}
