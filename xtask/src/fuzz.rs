//! Fuzzing, on the stable toolchain: coverage feedback without a sanitizer, since the code has no
//! `unsafe`. Found inputs are kept below the target directory; only `fuzz/corpus` is committed.

use std::fs;

use crate::Result;
use crate::shell::{Shell, root, target_dir};
use crate::steps::Outcome;
use crate::tools::{self, CARGO_FUZZ};

/// How long `test-all` fuzzes each target, in seconds.
const SHORT: u32 = 15;

/// Fuzzes one target.
pub(crate) fn run(arguments: &[String]) -> Result {
    let known = targets()?.join(", ");
    let [target, seconds] = arguments else {
        return Err(format!("give a target ({known}) and a number of seconds").into());
    };
    let seconds: u32 = seconds.parse().map_err(|_| format!("`{seconds}` is not a number"))?;
    if !targets()?.contains(target) {
        return Err(format!("no target `{target}`; there are: {known}").into());
    }
    fuzz(&Shell::interactive(), target, seconds)
}

/// Fuzzes every target for a short time.
pub(crate) fn step(shell: &Shell) -> Result<Outcome> {
    targets()?.iter().try_for_each(|target| fuzz(shell, target, SHORT))?;
    Ok(Outcome::Done)
}

fn fuzz(shell: &Shell, target: &str, seconds: u32) -> Result {
    let path = tools::ensure(shell, &CARGO_FUZZ)?;
    let found = target_dir().join("fuzz-corpus").join(target);
    fs::create_dir_all(&found)?;
    let fuzz = root().join("fuzz");
    let mut cargo = shell.cargo(&["fuzz", "run", "--sanitizer", "none", target]);
    cargo.arg(found).arg(fuzz.join("corpus").join(target)).arg("--");
    let dictionary = fuzz.join("dictionaries").join(format!("{target}.dict"));
    cargo.arg(format!("-dict={}", dictionary.display()));
    cargo.arg(format!("-max_total_time={seconds}"));
    // Longer inputs than the longest path or URI find nothing new, and cost speed.
    cargo.args(["-max_len=4096", "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]);
    shell.run(cargo.current_dir(fuzz).env("PATH", path))
}

/// The names of all targets.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        if let (Some(name), Some("rs")) =
            (path.file_stem(), path.extension().and_then(|extension| extension.to_str()))
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    if names.is_empty() { Err("there are no fuzz targets".into()) } else { Ok(names) }
}
