//! A real registry (Debian's `docker-registry`) on a port of the loopback interface, and a client
//! that pushes images straight to it, without Docker.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::engine::command::tail_of;
use crate::engine::http::{Answer, Request};
use crate::engine::processes::log_to;
use crate::engine::wait::wait_for;
use crate::images::{self, Blob, ImageSpec};
use crate::ports::free_port;

pub mod damage;

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// One request to the registry; layers are at most some hundred megabytes.
const ASK_TIMEOUT: Duration = Duration::from_secs(60);
/// What the registry prints before the address, once it listens.
const LISTENING: &str = "listening on ";

/// Who may use the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Everybody.
    None,
    /// Whoever logs in with user and password of this login.
    Basic(Login),
}

/// The logins that exist. The registry knows passwords only as bcrypt hashes, which nothing in
/// here can compute; so there are two, hashed beforehand (`perl -e 'print crypt(…, q($2b$05$…))'`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// A password of letters and dashes.
    Plain,
    /// A password whose base64 form holds `+` and `/` wherever it starts, so that mistaking one
    /// base64 alphabet for the other is seen.
    Symbols,
}

impl Login {
    /// The user's name.
    #[must_use]
    pub fn user(self) -> &'static str {
        match self {
            Self::Plain => "ci",
            Self::Symbols => "symbols",
        }
    }

    /// The password.
    #[must_use]
    pub fn password(self) -> &'static str {
        match self {
            Self::Plain => "correct-horse-battery-staple",
            Self::Symbols => "s3cr?t>>>???~~~$&%+/=w@rd",
        }
    }

    fn htpasswd_line(self) -> String {
        let hash = match self {
            Self::Plain => "$2b$05$cutoverTestKitLogin1uOz2pURZQ2UjnTumrZtcfulxlHAFZmRFi",
            Self::Symbols => "$2b$05$cutoverTestKitLogin1uOu1vTlRwpabYBIKh1lWcgu7.01MdDE5C",
        };
        format!("{}:{hash}\n", self.user())
    }
}

/// A running registry. Dropping it ends it and removes what was pushed.
#[derive(Debug)]
pub struct Registry {
    dir: TempDir,
    program: PathBuf,
    auth: Auth,
    address: SocketAddr,
    process: Option<Child>,
}

impl Registry {
    /// Starts an empty registry on a free port and waits until it listens. Deleting manifests is
    /// allowed.
    ///
    /// # Errors
    /// If it does not come up; the error holds the end of its log.
    ///
    /// # Panics
    /// If the test was not started through `cargo xtask`.
    pub fn start(auth: Auth) -> Result<Self> {
        Self::start_program(&crate::world().registry_bin, auth, free_port())
    }

    /// The same with a given program and port.
    ///
    /// # Errors
    /// If it does not come up; the error holds the end of its log.
    pub fn start_program(program: &Path, auth: Auth, port: u16) -> Result<Self> {
        let mut registry = Self {
            dir: tempfile::Builder::new()
                .prefix("cutover-registry-")
                .tempdir()?,
            program: program.to_owned(),
            auth,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            process: None,
        };
        fs::create_dir(registry.dir.path().join("storage"))?;
        registry.launch()?;
        Ok(registry)
    }

    /// Its address, as the first part of an image reference: Docker trusts registries on
    /// `127.0.0.0/8` without TLS.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The image reference `ADDRESS/REPOSITORY:TAG`.
    #[must_use]
    pub fn reference(&self, repository: &str, tag: &str) -> String {
        format!("{}/{repository}:{tag}", self.address)
    }

    /// The `auth` value of Docker's `config.json` for this registry, if it asks for a login.
    #[must_use]
    pub fn docker_config(&self) -> serde_json::Value {
        match self.auth {
            Auth::None => serde_json::json!({ "auths": {} }),
            Auth::Basic(login) => serde_json::json!({
                "auths": { self.address.to_string(): { "auth": basic(login) } }
            }),
        }
    }

    /// Ends the process; what was pushed stays, and [`Registry::restart`] brings it back.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Starts it again on the same port, with what was pushed before.
    ///
    /// # Errors
    /// If it does not come up; the error holds the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// Lets it answer nothing from now on, although it takes connections.
    ///
    /// # Errors
    /// If it does not run.
    pub fn hold(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on after [`Registry::hold`].
    ///
    /// # Errors
    /// If it does not run.
    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref().context("the registry does not run")?;
        let pid = Pid::from_raw(i32::try_from(process.id())?).context("no process id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Pushes an image of the example service and returns its digest. The same specification has
    /// the same digest.
    ///
    /// # Errors
    /// If the registry does not take it.
    ///
    /// # Panics
    /// If the specification names no program and the test was not started through `cargo xtask`.
    pub fn push(&self, repository: &str, tag: &str, spec: &ImageSpec) -> Result<String> {
        let manifest = self.push_manifest(repository, spec)?;
        self.put_manifest(repository, tag, &manifest)?;
        Ok(manifest.digest)
    }

    /// Pushes one tag that holds an image for each platform, as `docker buildx` does, and returns
    /// the digest of the index.
    ///
    /// # Errors
    /// If the registry does not take it.
    ///
    /// # Panics
    /// If the specification names no program and the test was not started through `cargo xtask`.
    pub fn push_index(&self, repository: &str, tag: &str, specs: &[ImageSpec]) -> Result<String> {
        let mut members = Vec::new();
        for spec in specs {
            let manifest = self.push_manifest(repository, spec)?;
            self.put_manifest(repository, &manifest.digest, &manifest)?;
            members.push((spec, manifest));
        }
        let index = images::index(&members);
        self.put_manifest(repository, tag, &index)?;
        Ok(index.digest)
    }

    /// The digest that a tag stands for now; none if there is no such tag.
    ///
    /// # Errors
    /// If the registry does not answer.
    pub fn digest(&self, repository: &str, tag: &str) -> Result<Option<String>> {
        let target = format!("/v2/{repository}/manifests/{tag}");
        let accept = [images::MANIFEST, images::INDEX].join(", ");
        let answer = self.send("HEAD", &target, &[("Accept", &accept)], b"")?;
        match answer.status {
            200 => Ok(answer.header("docker-content-digest").map(str::to_owned)),
            404 => Ok(None),
            _ => bail!("the registry answered {} to HEAD {target}", answer.status),
        }
    }

    /// Deletes what a tag stands for.
    ///
    /// # Errors
    /// If there is no such tag or the registry does not answer.
    pub fn delete(&self, repository: &str, tag: &str) -> Result<()> {
        let digest = self
            .digest(repository, tag)?
            .with_context(|| format!("there is no {repository}:{tag} to delete"))?;
        let target = format!("/v2/{repository}/manifests/{digest}");
        self.expect(202, "DELETE", &target, &[], b"").map(drop)
    }

    fn push_manifest(&self, repository: &str, spec: &ImageSpec) -> Result<Blob> {
        let image = spec.assemble()?;
        for blob in image.layers.iter().chain([&image.config]) {
            self.put_blob(repository, blob)?;
        }
        Ok(image.manifest)
    }

    /// Uploads a blob unless it is there. All images share the layer with the program.
    fn put_blob(&self, repository: &str, blob: &Blob) -> Result<()> {
        let target = format!("/v2/{repository}/blobs/{}", blob.digest);
        if self.send("HEAD", &target, &[], b"")?.status == 200 {
            return Ok(());
        }
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        let answer = self.expect(202, "POST", &uploads, &[], b"")?;
        let location = answer
            .header("location")
            .context("the registry named no place to upload to")?;
        // The place is a whole URL with a query; what counts is what follows the authority.
        let path = location
            .split_once("://")
            .and_then(|(_, rest)| rest.find('/').map(|slash| &rest[slash..]))
            .unwrap_or(location);
        let target = format!("{path}&digest={}", blob.digest);
        let kind = [("Content-Type", "application/octet-stream")];
        self.expect(201, "PUT", &target, &kind, &blob.content)
            .map(drop)
    }

    fn put_manifest(&self, repository: &str, name: &str, manifest: &Blob) -> Result<()> {
        let target = format!("/v2/{repository}/manifests/{name}");
        let kind = [("Content-Type", manifest.media_type)];
        self.expect(201, "PUT", &target, &kind, &manifest.content)
            .map(drop)
    }

    fn expect(
        &self,
        status: u16,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        let answer = self.send(method, target, headers, body)?;
        ensure!(
            answer.status == status,
            "the registry answered {} to {method} {target}: {}",
            answer.status,
            answer.text()
        );
        Ok(answer)
    }

    fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        let mut headers = headers.to_vec();
        let credentials = match self.auth {
            Auth::None => None,
            Auth::Basic(login) => Some(format!("Basic {}", basic(login))),
        };
        headers.extend(credentials.as_deref().map(|value| ("Authorization", value)));
        let stream = TcpStream::connect(self.address)
            .with_context(|| format!("the registry at {} cannot be reached", self.address))?;
        stream.set_read_timeout(Some(ASK_TIMEOUT))?;
        stream.set_write_timeout(Some(ASK_TIMEOUT))?;
        let request = Request {
            method,
            target,
            headers: &headers,
            body,
        };
        request.send(&self.address.to_string(), &stream)
    }

    fn launch(&mut self) -> Result<()> {
        let dir = self.dir.path();
        let settings = dir.join("config.yml");
        let storage = dir.join("storage");
        let mut text = format!(
            "version: 0.1\n\
             log: {{ level: info, accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: {storage} }}, delete: {{ enabled: true }} }}\n\
             http: {{ addr: \"{address}\", secret: cutover }}\n",
            storage = storage.display(),
            address = self.address
        );
        if let Auth::Basic(login) = self.auth {
            let passwords = dir.join("htpasswd");
            fs::write(&passwords, login.htpasswd_line())?;
            text += &format!(
                "auth: {{ htpasswd: {{ realm: cutover, path: {} }} }}\n",
                passwords.display()
            );
        }
        fs::write(&settings, text)?;
        let log = dir.join("log");
        drop(fs::remove_file(&log));
        let mut command = Command::new(&self.program);
        command.env_clear().arg("serve").arg(&settings);
        log_to(&mut command, &log)?;
        let mut process = command
            .spawn()
            .with_context(|| format!("{} could not be started", self.program.display()))?;
        let ready = wait_for("the registry", START_TIMEOUT, || {
            if let Some(status) = process.try_wait()? {
                bail!("docker-registry ended: {status}");
            }
            Ok(listening_address(&fs::read_to_string(&log)?))
        });
        self.process = Some(process);
        self.address =
            ready.with_context(|| format!("the registry did not start; {}", tail_of(&log)))?;
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

/// The address in the registry's log, once it listens.
fn listening_address(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once(LISTENING)?;
    // The log may end in the middle of the address; only what the quote ends is whole.
    let (address, _) = rest.split_once('"')?;
    address.parse().ok()
}

fn basic(login: Login) -> String {
    STANDARD.encode(format!("{}:{}", login.user(), login.password()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_symbols_login_tells_the_base64_alphabets_apart() {
        // The login stands at some offset inside a JSON text; all three alignments must differ.
        for padding in ["", "x", "xx"] {
            let text = STANDARD.encode(format!("{padding}{}", Login::Symbols.password()));
            assert!(text.contains('+') && text.contains('/'), "{text}");
        }
    }

    #[test]
    fn the_address_is_read_only_when_it_is_whole() {
        let log = "level=info msg=\"listening on 127.0.0.1:43177\" go.version=go1.26.5";
        let address = "127.0.0.1:43177".parse().ok();
        assert_eq!(listening_address(log), address);
        assert_eq!(listening_address("msg=\"listening on 127.0.0.1:4317"), None);
        assert_eq!(listening_address("level=info msg=\"redis"), None);
    }
}
