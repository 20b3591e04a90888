//! `mount` and `unmount`: the saved mounts.

use nexus_fs::{MountInfo, MountRequest, VfsPath};
use serde_json::{Value, json};

use super::each;
use crate::args::{MountArgs, MountCommand};
use crate::environment::Environment;
use crate::exit::{Failure, code};
use crate::mount_file::{MountFileStore, SavedMount};
use crate::output::Output;
use crate::session::{Session, trim};

pub(crate) async fn mount(
    args: &MountArgs,
    environment: &Environment,
    output: &Output,
) -> Result<(), Failure> {
    match &args.command {
        Some(MountCommand::List) => list(environment, output),
        Some(MountCommand::Test { uri }) => {
            let session = Session::new(environment, &[]).await?;
            let tested = open(&session, vec![session.request(uri)?]).await?;
            tested.iter().try_for_each(|info| show(info, "works", output))
        }
        None => save(args, environment, output).await,
    }
}

/// Opens mounts all or none, looks at each, and closes them.
async fn open(
    session: &Session<'_>,
    requests: Vec<MountRequest>,
) -> Result<Vec<MountInfo>, Failure> {
    let kernel = session.environment.kernel(session.kernel.registry().clone());
    let mounted = kernel.mount(requests).await?;
    for info in &mounted {
        kernel.stat(&info.at).await?;
    }
    kernel.close().await?;
    Ok(mounted)
}

async fn save(args: &MountArgs, environment: &Environment, output: &Output) -> Result<(), Failure> {
    let session = Session::new(environment, &[]).await?;
    let mut requests = Vec::new();
    for text in &args.uris {
        let mut request = session.request(text)?;
        if request.uri.has_secrets() {
            return Err(Failure::usage("a URI with secrets is not saved").with_hint(
                "leave the secret out, and let it be discovered; or use `--mount` for one command",
            ));
        }
        if let Some(at) = &args.at {
            if args.uris.len() > 1 {
                return Err(Failure::usage("`--at` goes with one URI")
                    .with_hint("write `/path=URI` for each"));
            }
            request.at = Some(VfsPath::parse(trim(at))?);
        }
        requests.push(request);
    }
    let opened = open(&session, requests).await?;
    let saved: Vec<_> = opened
        .iter()
        .map(|info| SavedMount { at: info.at.clone(), uri: info.uri.clone() })
        .collect();
    let store = MountFileStore::new(environment.state_dir.as_ref())?;
    let known = store.update(|file| {
        let mut known = Vec::new();
        for mount in &saved {
            known.push(file.mounts.contains(mount));
            if file.mounts.contains(mount) {
                continue;
            }
            let clash = file
                .mounts
                .iter()
                .find(|other| other.at.starts_with(&mount.at) || mount.at.starts_with(&other.at));
            if let Some(other) = clash {
                let message = format!("{}: {} is mounted at {}", mount.at, other.uri, other.at);
                return Err(Failure::new(code::CONFLICT, message)
                    .with_hint("choose another place with `--at`, or unmount that one first"));
            }
            file.mounts.push(mount.clone());
        }
        Ok(known)
    })?;
    for (info, known) in opened.iter().zip(known) {
        show(info, if known { "was mounted already" } else { "mounted" }, output)?;
    }
    Ok(())
}

fn show(info: &MountInfo, what: &str, output: &Output) -> Result<(), Failure> {
    let backend = info.info.as_ref();
    if output.json {
        return output.json(&json!({
            "at": info.at, "uri": info.uri, "layout": backend.map(|b| b.capabilities.layout),
            "reason": backend.map(|b| b.layout_reason.clone()),
        }));
    }
    output.line(&format!("{}  {what}  {}", info.at, info.uri))?;
    match backend {
        Some(backend) if !backend.layout_reason.is_empty() => output.line(&format!(
            "    layout {}: {}",
            backend.capabilities.layout.as_str(),
            backend.layout_reason
        )),
        _ => Ok(()),
    }
}

fn list(environment: &Environment, output: &Output) -> Result<(), Failure> {
    let file = MountFileStore::new(environment.state_dir.as_ref())?.load()?;
    if output.json {
        return file.mounts.iter().try_for_each(|mount| {
            output.json(&serde_json::to_value(mount).unwrap_or(Value::Null))
        });
    }
    if file.mounts.is_empty() {
        output.note("nothing is mounted; try `nexus-fs mount ./data`");
    }
    let width = file.mounts.iter().map(|mount| mount.at.as_str().len()).max().unwrap_or(0);
    file.mounts
        .iter()
        .try_for_each(|mount| output.line(&format!("{:<width$}  {}", mount.at.as_str(), mount.uri)))
}

pub(crate) async fn unmount(
    mounts: &[String],
    environment: &Environment,
    output: &Output,
) -> Result<(), Failure> {
    let session = Session::new(environment, &[]).await?;
    let (session, store) = (&session, &MountFileStore::new(environment.state_dir.as_ref())?);
    each(mounts, output, |operand| async move {
        let uri = session.saved_uri(operand);
        let wanted = |mount: &SavedMount| {
            let by_uri = uri.as_ref().is_ok_and(|uri| *uri == mount.uri);
            mount.at.as_str() == trim(operand) || by_uri
        };
        let gone = store.update(|file| {
            let place = file.mounts.iter().position(wanted);
            let place = place.ok_or_else(|| {
                Failure::new(code::NOT_FOUND, format!("{operand}: nothing like that is mounted"))
                    .with_hint("see what is with `nexus-fs mount list`")
            })?;
            Ok(file.mounts.remove(place))
        })?;
        output.note(&format!("unmounted {} ({})", gone.at, gone.uri));
        Ok(())
    })
    .await
}
