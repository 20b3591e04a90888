//! The demo, `cargo xtask demo [DIR]`: one namespace over a folder of real files and a store in
//! memory. It lists, reads, searches, copies from one mount to the other, verifies the copies by
//! digest, and prints what each step did and how long it took. The folder is only read.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use futures_util::StreamExt;
use nexus_fs::{Digest, EntryKind, Error, ErrorKind, Hasher, Kernel, Result, VfsPath};

/// The most that is copied into memory, in bytes.
const MOST_COPIED: u64 = 256 << 20;

/// What is searched for.
const WORD: &str = "error";

#[tokio::main]
async fn main() -> ExitCode {
    let Some(dir) = std::env::args().nth(1) else {
        say("usage: demo DIR");
        return ExitCode::from(2);
    };
    match demo(&dir).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            if let Some(hint) = error.hint() {
                say(&format!("hint: {hint}"));
            }
            ExitCode::FAILURE
        }
    }
}

async fn demo(dir: &str) -> Result<()> {
    let begin = Instant::now();
    let folder = format!("local://{}", dir.replace('%', "%25").replace('?', "%3F"));
    let fs = nexus_fs::Builder::new()
        .mount_at(folder, "/files")?
        .mount_at("mem://scratch", "/scratch")?
        .open()
        .await?;
    step("mount", begin, "two stores, one namespace:");
    for mount in fs.mounts() {
        say(&format!("    {:<10} {} ({})", mount.at.to_string(), mount.uri, mount.state));
    }

    let files = list(&fs).await?;
    let files = read(&fs, files).await;
    search(&fs, &files).await?;
    let copied = copy(&fs, &files).await?;
    verify(&fs, &copied).await?;
    refuse(&fs, &copied).await?;
    rename(&fs).await?;

    let begin = Instant::now();
    fs.close().await?;
    step("close", begin, "both mounts; nothing was changed in the folder");
    say("done");
    Ok(())
}

/// A file of the folder and its size in bytes.
struct File {
    path: VfsPath,
    size: u64,
}

async fn list(fs: &Kernel) -> Result<Vec<File>> {
    let begin = Instant::now();
    let mut entries = fs.walk("/files", &Default::default()).await?;
    let (mut files, mut directories, mut others) = (Vec::new(), 0, 0);
    let mut failures = Vec::new();
    while let Some(entry) = entries.next().await {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                failures.push(error);
                continue;
            }
        };
        match entry.metadata.kind {
            EntryKind::File => {
                files.push(File { path: entry.path, size: entry.metadata.size.unwrap_or_default() })
            }
            EntryKind::Directory => directories += 1,
            _ => others += 1,
        }
    }
    let bytes: u64 = files.iter().map(|file| file.size).sum();
    let text = format!(
        "{} files, {directories} directories, {others} others, {} below /files",
        files.len(),
        size(bytes)
    );
    step("list", begin, &text);
    files.sort_by_key(|file| std::cmp::Reverse(file.size));
    for file in files.iter().take(3) {
        say(&format!("    {:>10}  {}", size(file.size), file.path));
    }
    tell(&failures);
    Ok(files)
}

/// Reads every file; answers those that could be read.
async fn read(fs: &Kernel, files: Vec<File>) -> Vec<File> {
    let begin = Instant::now();
    let (mut readable, mut failures, mut bytes) = (Vec::new(), Vec::new(), 0);
    for file in files {
        match digest(fs, &file.path).await {
            Ok(_) => {
                bytes += file.size;
                readable.push(file);
            }
            Err(error) => failures.push(error),
        }
    }
    let text = format!("{} files, whole: {}", readable.len(), size(bytes));
    step("read", begin, &format!("{text}{}", rate(bytes, begin)));
    tell(&failures);
    readable
}

fn tell(failures: &[Error]) {
    for error in failures.iter().take(3) {
        say(&format!("    passed over: {error}"));
    }
    if failures.len() > 3 {
        say(&format!("    and {} more", failures.len() - 3));
    }
}

async fn search(fs: &Kernel, files: &[File]) -> Result<()> {
    let begin = Instant::now();
    let mut hits = Vec::new();
    for file in files.iter().filter(|file| file.size <= 16 << 20) {
        let content = fs.read(&file.path, &Default::default()).await?.body.bytes(16 << 20).await?;
        let text = String::from_utf8_lossy(&content);
        let lines = text.lines().filter(|line| line.contains(WORD)).count();
        if lines > 0 {
            hits.push((lines, &file.path));
        }
    }
    hits.sort_by_key(|(lines, _)| std::cmp::Reverse(*lines));
    let lines: usize = hits.iter().map(|(lines, _)| lines).sum();
    step("search", begin, &format!("`{WORD}`: {lines} lines in {} files", hits.len()));
    for (lines, path) in hits.iter().take(3) {
        say(&format!("    {lines:>10}  {path}"));
    }
    Ok(())
}

/// Copies files into the memory store, the smaller ones first; answers source and target of each.
async fn copy(fs: &Kernel, files: &[File]) -> Result<Vec<(VfsPath, VfsPath)>> {
    let begin = Instant::now();
    let (mut copied, mut bytes) = (Vec::new(), 0);
    for file in files.iter().rev() {
        if bytes + file.size > MOST_COPIED {
            break;
        }
        let inner = file.path.strip_prefix(&VfsPath::parse("/files")?);
        let target =
            VfsPath::parse("/scratch/copy")?.concat(&inner.unwrap_or_else(VfsPath::root))?;
        fs.copy(&file.path, &target, &Default::default()).await?;
        bytes += file.size;
        copied.push((file.path.clone(), target));
    }
    let left = match files.len() - copied.len() {
        0 => String::new(),
        left => format!("; {left} left out, memory being limited to {}", size(MOST_COPIED)),
    };
    let text = format!("{} files to /scratch/copy, {}{left}", copied.len(), size(bytes));
    step("copy", begin, &format!("{text}{}", rate(bytes, begin)));
    Ok(copied)
}

async fn verify(fs: &Kernel, copied: &[(VfsPath, VfsPath)]) -> Result<()> {
    let begin = Instant::now();
    let mut all = Hasher::new();
    for (from, to) in copied {
        let (source, target) = (digest(fs, from).await?, digest(fs, to).await?);
        let recorded = fs.stat(to).await?.digest;
        if source != target || recorded != Some(target) {
            let message = format!("{to} is not what {from} holds");
            return Err(Error::new(ErrorKind::IntegrityMismatch, message));
        }
        all.update(source.as_bytes());
    }
    let text = format!("{} files by BLAKE3, both sides equal; all: {}", copied.len(), all.finish());
    step("verify", begin, &text);
    Ok(())
}

async fn digest(fs: &Kernel, path: &VfsPath) -> Result<Digest> {
    let mut body = fs.read(path, &Default::default()).await?.body;
    let mut hasher = Hasher::new();
    while let Some(piece) = body.next().await {
        hasher.update(&piece?);
    }
    Ok(hasher.finish())
}

/// What must not work does not, and says why.
async fn refuse(fs: &Kernel, copied: &[(VfsPath, VfsPath)]) -> Result<()> {
    let begin = Instant::now();
    let climb = fs.read("/files/../secret", &Default::default()).await.err();
    let taken = match copied.first() {
        Some((_, path)) => {
            let create = nexus_fs::WriteMode::Create.into();
            fs.write(path, "lost?", &create).await.err()
        }
        None => None,
    };
    let refused: Vec<_> = [climb, taken].into_iter().flatten().collect();
    step("refuse", begin, "what would leave a mount, or replace what is there:");
    for error in refused {
        say(&format!("    {error}"));
    }
    Ok(())
}

async fn rename(fs: &Kernel) -> Result<()> {
    let begin = Instant::now();
    match fs.rename("/scratch/copy", "/scratch/kept", &Default::default()).await {
        Ok(method) => {
            step("rename", begin, &format!("/scratch/copy to /scratch/kept ({})", method.as_str()));
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Prints a step, and the time since it began.
fn step(name: &str, begin: Instant, text: &str) {
    say(&format!("{name:<8} {:>9.1} ms  {text}", begin.elapsed().as_secs_f64() * 1e3));
}

fn say(text: &str) {
    // A reader that went away, as `head` does, is no failure of the demo.
    let _ = writeln!(io::stdout().lock(), "{}", visible(text));
}

/// The text with what would steer a terminal made visible: names of files are not ours.
fn visible(text: &str) -> String {
    let steers =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if steers(c) { c.escape_unicode().to_string() } else { c.to_string() })
        .collect()
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn rate(bytes: u64, begin: Instant) -> String {
    let seconds = begin.elapsed().as_secs_f64();
    if seconds > 0.0 && bytes > 0 {
        format!(", {}/s", size((bytes as f64 / seconds) as u64))
    } else {
        String::new()
    }
}
