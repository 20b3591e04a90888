//! nexus-fs beside `object_store` and `opendal`, on one disk, in one run.
//!
//! Every contestant has a folder of its own on the same file system and does the same work on it.
//! Rounds alternate (A B C, A B C, …), so that what else the machine does meets all of them, and the
//! median counts. Nobody calls fsync. What differs is said below the table.
//!
//! `--quick` for small sizes, `--only NAME` for the workloads whose name contains NAME.

mod contestants;
mod workloads;

use std::time::Duration;

use contestants::{Contestant, Nexus, ObjectStoreLocal, OpenDal};
use workloads::{Sizes, WORKLOADS, Workload};

const NOTES: &str = "\
ratio: time of the better peer divided by the time of nexus-fs; 1.0 is as fast, more is faster.
nexus-fs and object_store publish a file atomically; opendal writes in place, opendal-atomic by a
temporary file. nexus-fs alone records a BLAKE3 digest with every write and checks it on every whole
read. The copy of object_store is a hard link: both names are one file. Nobody calls fsync. Median of
the rounds; contestants take turns.";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut only = "";
    let mut quick = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match (argument.as_str(), rest.as_slice().first()) {
            ("--quick", _) => quick = true,
            ("--only", Some(name)) => {
                only = name;
                rest.next();
            }
            _ => return Err(format!("`{argument}`? Known: --quick, --only NAME").into()),
        }
    }
    let sizes = if quick { Sizes::QUICK } else { Sizes::FULL };
    let chosen: Vec<_> = WORKLOADS.iter().filter(|w| w.name.contains(only)).collect();
    if chosen.is_empty() {
        return Err(format!("no workload is called `{only}`").into());
    }
    let folder = tempfile::tempdir()?;
    let contestants: [Box<dyn Contestant>; 4] = [
        Box::new(Nexus::new(&folder.path().join("nexus")).await?),
        Box::new(ObjectStoreLocal::new(&folder.path().join("object_store"))?),
        Box::new(OpenDal::new(&folder.path().join("opendal"), None)?),
        Box::new(OpenDal::new(
            &folder.path().join("opendal-atomic"),
            Some(&folder.path().join("opendal-temp")),
        )?),
    ];
    heading(&contestants);
    let mut missed = 0;
    for workload in chosen {
        let times = measure(workload, &contestants, &sizes).await?;
        missed += u32::from(!row(workload, &times));
    }
    println!("\n{NOTES}");
    match missed {
        0 => println!("every target is met"),
        missed => println!("{missed} targets are missed"),
    }
    Ok(())
}

/// Median time of one operation, for each contestant; `None` where it has no such operation.
async fn measure(
    workload: &Workload,
    contestants: &[Box<dyn Contestant>],
    sizes: &Sizes,
) -> Result<Vec<Option<Duration>>, Box<dyn std::error::Error>> {
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); contestants.len()];
    let rounds = sizes.rounds;
    for round in 0..=rounds {
        for (contestant, times) in contestants.iter().zip(&mut times) {
            let time = (workload.run)(&**contestant, sizes, round).await?;
            // The first round warms up.
            times.extend(time.filter(|_| round > 0));
        }
    }
    Ok(times
        .into_iter()
        .map(|mut times| {
            times.sort();
            times.get(times.len() / 2).copied()
        })
        .collect())
}

fn heading(contestants: &[Box<dyn Contestant>]) {
    print!("{:<34}", "workload");
    contestants.iter().for_each(|contestant| print!("{:>15}", contestant.name()));
    println!("{:>8}{:>8}", "ratio", "target");
}

/// Prints a row; answers whether the target is met.
fn row(workload: &Workload, times: &[Option<Duration>]) -> bool {
    print!("{:<34}", workload.name);
    times.iter().for_each(|time| print!("{:>15}", time.map_or("-".to_owned(), shown)));
    let better = times[1..].iter().flatten().min();
    let (Some(own), Some(better)) = (times[0], better) else {
        println!("{:>8}{:>8}", "-", "-");
        return true;
    };
    let ratio = better.as_secs_f64() / own.as_secs_f64();
    let met = ratio >= workload.target;
    println!("{ratio:>8.2}{:>8.1}{}", workload.target, if met { "" } else { "  missed" });
    met
}

fn shown(time: Duration) -> String {
    match time.as_nanos() {
        0..100_000 => format!("{:.2} us", time.as_secs_f64() * 1e6),
        100_000..10_000_000 => format!("{:.0} us", time.as_secs_f64() * 1e6),
        _ => format!("{:.0} ms", time.as_secs_f64() * 1e3),
    }
}
