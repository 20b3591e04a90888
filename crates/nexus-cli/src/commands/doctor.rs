//! `backends` and `doctor`: what this program can do, and what it finds.

use std::time::Instant;

use nexus_fs::{Descriptor, MountInfo, MountRequest};
use serde_json::{Value, json};

use crate::environment::Environment;
use crate::exit::{Failure, code};
use crate::mount_file::MountFileStore;
use crate::output::Output;
use crate::session::Session;

pub(crate) fn backends(output: &Output) -> Result<(), Failure> {
    let registry = nexus_fs::registry()?;
    for descriptor in registry.descriptors() {
        if output.json {
            output.json(&describe(descriptor))?;
            continue;
        }
        let kind = serde_json::to_value(descriptor.kind).unwrap_or_default();
        let kind = kind.as_str().unwrap_or_default();
        output.line(&format!("{:<10} {kind:<10} {}", descriptor.scheme, descriptor.summary))?;
        for option in descriptor.options {
            output.line(&format!("    ?{}={}  {}", option.name, option.values, option.summary))?;
        }
    }
    Ok(())
}

fn describe(descriptor: &Descriptor) -> Value {
    json!({
        "scheme": descriptor.scheme, "aliases": descriptor.aliases, "kind": descriptor.kind,
        "summary": descriptor.summary, "credentials": descriptor.credentials,
        "options": descriptor.options,
    })
}

pub(crate) async fn doctor(
    environment: &Environment,
    mounts: &[String],
    output: &Output,
) -> Result<(), Failure> {
    let mut wrong = 0_u64;
    let mut report = Report { output, sections: Vec::new() };
    report.say("version", env!("CARGO_PKG_VERSION").into())?;
    report.say("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH).into())?;
    let schemes: Vec<_> = nexus_fs::registry()?.descriptors().iter().map(|d| d.scheme).collect();
    report.say("backends", json!(schemes.join(", ")))?;
    let session = Session::new(environment, &[]).await?;
    match MountFileStore::new(environment.state_dir.as_ref()) {
        Ok(store) => {
            report.say("saved mounts", json!(store.path().display().to_string()))?;
            if let Err(failure) = store.load() {
                wrong += 1;
                report.wrong("saved mounts", &failure)?;
            }
        }
        Err(failure) => {
            wrong += 1;
            report.wrong("saved mounts", &failure)?;
        }
    }
    let requests: Vec<Result<MountRequest, Failure>> = if mounts.is_empty() {
        let saved = session.saved().iter();
        saved.map(|m| Ok(MountRequest::parse(&m.uri)?.at(m.at.clone()))).collect()
    } else {
        mounts.iter().map(|text| session.request(text)).collect()
    };
    for request in requests {
        let about = request.as_ref().map_or_else(|_| "mount".to_owned(), |r| r.uri.to_string());
        let looked = match request {
            Ok(request) => look(request, environment).await,
            Err(failure) => Err(failure),
        };
        match looked {
            Ok(found) => report.mount(found)?,
            Err(failure) => {
                wrong += 1;
                report.wrong(&about, &failure)?;
            }
        }
    }
    report.end(wrong)?;
    if wrong > 0 {
        output.set_code(code::FAILED);
    }
    Ok(())
}

/// A mount that was opened for a look.
struct Looked {
    info: MountInfo,
    opened_ms: f64,
    stat_ms: f64,
}

async fn look(request: MountRequest, environment: &Environment) -> Result<Looked, Failure> {
    let milliseconds = |begin: Instant| begin.elapsed().as_secs_f64() * 1000.0;
    let kernel = environment.kernel(nexus_fs::registry()?);
    let begin = Instant::now();
    let info = kernel.mount(vec![request]).await?.remove(0);
    let opened_ms = milliseconds(begin);
    let begin = Instant::now();
    kernel.stat(&info.at).await?;
    let stat_ms = milliseconds(begin);
    kernel.close().await?;
    Ok(Looked { info, opened_ms, stat_ms })
}

/// What the doctor found, printed as it goes, or collected for one JSON document.
struct Report<'a> {
    output: &'a Output,
    sections: Vec<Value>,
}

impl Report<'_> {
    fn say(&mut self, name: &str, value: Value) -> Result<(), Failure> {
        if !self.output.json {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.output.line(&format!("{name:<13} {text}"))?;
        }
        self.sections.push(json!({ "about": name, "value": value }));
        Ok(())
    }

    fn wrong(&mut self, name: &str, failure: &Failure) -> Result<(), Failure> {
        if !self.output.json {
            self.output.line(&format!("{name}: WRONG: {}", failure.message))?;
            if let Some(hint) = &failure.hint {
                self.output.line(&format!("    hint: {hint}"))?;
            }
        }
        self.sections
            .push(json!({ "about": name, "error": failure.message, "hint": failure.hint }));
        Ok(())
    }

    fn mount(&mut self, looked: Looked) -> Result<(), Failure> {
        let Looked { info, opened_ms, stat_ms } = looked;
        let Some(backend) = &info.info else { return Ok(()) };
        let can = &backend.capabilities;
        if !self.output.json {
            let yes = |can: bool| if can { "yes" } else { "no" };
            self.output.line(&format!("{}  {}", info.at, info.uri))?;
            self.output
                .line(&format!("    opened in {opened_ms:.1} ms, answers in {stat_ms:.2} ms"))?;
            self.output.line(&format!(
                "    layout {}, digests {}, create-only writes {}, conditional writes {}",
                can.layout.as_str(),
                serde_json::to_value(can.digests).unwrap_or_default().as_str().unwrap_or_default(),
                yes(can.create),
                yes(can.replace),
            ))?;
        }
        self.sections.push(json!({
            "about": info.at, "mount": info, "opened_ms": opened_ms, "stat_ms": stat_ms,
        }));
        Ok(())
    }

    fn end(self, wrong: u64) -> Result<(), Failure> {
        if self.output.json {
            return self.output.json(&json!({ "wrong": wrong, "found": self.sections }));
        }
        match wrong {
            0 => self.output.line("nothing is wrong"),
            1 => self.output.line("1 thing is wrong"),
            wrong => self.output.line(&format!("{wrong} things are wrong")),
        }
    }
}
