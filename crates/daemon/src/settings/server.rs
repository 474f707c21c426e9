//! `[server]`: where the daemon listens and keeps its state.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::auth::Auth;
use super::surroundings::Surroundings;
use super::table::{Table, Value};
use crate::journal::KEEP_DAYS_MIN;

pub(super) const KEYS: &[&str] = &[
    "listen",
    "tls",
    "socket",
    "metrics_listen",
    "state_directory",
    "shutdown_deadline",
    "history_days",
];

pub(super) const TLS_KEYS: &[&str] = &["cert", "key"];

/// Where the local client looks for the daemon unless told otherwise.
const DEFAULT_SOCKET: &str = "/run/cutover/cutover.sock";

/// Where the journal is, unless systemd says otherwise.
const DEFAULT_STATE_DIRECTORY: &str = "/var/lib/cutover";

/// Long enough for most deployments that have switched to be proven or rolled back, short enough for
/// whoever waits for a reboot. The unit's `TimeoutStopSec` is longer.
const DEFAULT_SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5 * 60);

/// For how many days a deployment stays in the history: a quarter.
const DEFAULT_HISTORY_DAYS: u32 = 90;

/// Ten years: longer than any journal is worth.
const HISTORY_DAYS_MAX: u32 = 3650;

/// Linux' bound on the path of a unix socket, without the final NUL.
const SOCKET_PATH_LEN_MAX: usize = 107;

/// Where the daemon listens and keeps its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The address of the HTTP listener for the network; without it only the unix socket answers.
    /// Without `tls` it is on the loopback interface.
    pub listen: Option<SocketAddr>,
    /// The certificate of `listen`; without it `listen` speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The unix socket of the local client.
    pub socket: PathBuf,
    /// The address of `/metrics`, on the loopback interface; without it there are none. Off unless
    /// asked for, so that a port in use never keeps the daemon from starting.
    pub metrics_listen: Option<SocketAddr>,
    /// Where the journal is.
    pub state_directory: PathBuf,
    /// How long a daemon that was told to stop waits for deployments that have switched.
    pub shutdown_deadline: Duration,
    /// For how many days after its end a deployment stays in the history.
    pub history_days: u32,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: None,
            tls: None,
            socket: PathBuf::from(DEFAULT_SOCKET),
            metrics_listen: None,
            state_directory: PathBuf::from(DEFAULT_STATE_DIRECTORY),
            shutdown_deadline: DEFAULT_SHUTDOWN_DEADLINE,
            history_days: DEFAULT_HISTORY_DAYS,
        }
    }
}

/// A certificate chain and its private key, as PEM files; whether they fit is found out when they are
/// loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to a known authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Reads `[server]`; all of it has a default.
pub(super) fn read(section: Option<&Value<'_>>, surroundings: &Surroundings) -> Option<Server> {
    let mut server = Server::default();
    if let Some(directory) = &surroundings.state_directory {
        server.state_directory.clone_from(directory);
    }
    let Some(section) = section else {
        return Some(server);
    };
    let table = section.table(KEYS)?;
    let listen = table.get("listen");
    server.listen = listen.as_ref().and_then(Value::address);
    server.tls = table.get("tls").as_ref().and_then(read_tls);
    if let Some(listen) = &listen {
        require_tls(listen, server.listen, table.get("tls").as_ref());
    } else if let Some(tls) = table.get("tls") {
        tls.name_mistake::<()>(
            format!("`{}` without `server.listen` has no effect", tls.path),
            Some("add `listen = \"0.0.0.0:8443\"`, or remove `tls`"),
        );
    }
    if let Some(socket) = table.get("socket").as_ref().and_then(read_socket) {
        server.socket = socket;
    }
    server.metrics_listen = table
        .get("metrics_listen")
        .and_then(|value| read_metrics_listen(&value, server.listen));
    if let Some(path) = table.get("state_directory").and_then(|value| value.path()) {
        server.state_directory = path;
    }
    if let Some(deadline) = table
        .get("shutdown_deadline")
        .and_then(|value| value.duration(Duration::ZERO))
    {
        server.shutdown_deadline = deadline;
    }
    if let Some(days) = table
        .get("history_days")
        .and_then(|value| value.number(KEEP_DAYS_MIN..=HISTORY_DAYS_MAX))
    {
        server.history_days = days;
    }
    Some(server)
}

fn read_tls(value: &Value<'_>) -> Option<TlsFiles> {
    let table = value.table(TLS_KEYS)?;
    let cert = table.require(
        "cert",
        "the path of the certificate chain, as a PEM file, for example `fullchain.pem`",
    );
    let key = table.require(
        "key",
        "the path of the certificate's private key, as a PEM file",
    );
    let cert = cert.and_then(|value| value.file());
    let key = key.and_then(|value| read_private_key(&value));
    Some(TlsFiles {
        cert: cert?,
        key: key?,
    })
}

/// A private key that everybody can read is no longer private. A group may have it, because that is how
/// certificate tools share keys among the daemons of a machine.
fn read_private_key(value: &Value<'_>) -> Option<PathBuf> {
    let path = value.secret_path().and_then(|_| value.file())?;
    let mode = std::fs::metadata(&path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o007 == 0 {
        return Some(path);
    }
    value.mistake(
        format!(
            "`{}`: `{}` is accessible to everybody on this machine (mode {:04o})",
            value.path,
            path.display(),
            mode & 0o777
        ),
        Some("run `chmod o-rwx` on it; if anybody may have read it, replace the key as well"),
    )
}

/// Plain HTTP never leaves the machine: the signature protects the request, but the answer and the
/// watch token would be readable on the way.
fn require_tls(value: &Value<'_>, listen: Option<SocketAddr>, tls: Option<&Value<'_>>) {
    let Some(listen) = listen else { return };
    if tls.is_none() && !is_loopback(listen) {
        value.mistake::<()>(
            format!(
                "`{}` is `{listen}`, which others can reach, but `server.tls` is missing",
                value.path
            ),
            Some(
                "add `tls = { cert = \"…\", key = \"…\" }`, or listen on 127.0.0.1 behind a proxy that speaks TLS",
            ),
        );
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn read_socket(value: &Value<'_>) -> Option<PathBuf> {
    let path = value.path()?;
    let len = path.as_os_str().len();
    if len <= SOCKET_PATH_LEN_MAX {
        return Some(path);
    }
    value.mistake(
        format!(
            "`{}` has {len} bytes; the path of a unix socket has at most {SOCKET_PATH_LEN_MAX}",
            value.path
        ),
        None,
    )
}

fn read_metrics_listen(value: &Value<'_>, listen: Option<SocketAddr>) -> Option<SocketAddr> {
    let address = value.address()?;
    if !is_loopback(address) {
        return value.mistake(
            format!(
                "`{}` must be on the loopback interface, not `{address}`",
                value.path
            ),
            Some("for example \"127.0.0.1:9464\": metrics are readable without a token"),
        );
    }
    if address.port() != 0 && listen == Some(address) {
        return value.mistake(
            format!("`{}` is the address of `server.listen`", value.path),
            Some("choose another port: metrics have a listener of their own"),
        );
    }
    Some(address)
}

impl Server {
    /// Notes a listener that nobody could use.
    pub(super) fn check_against(&self, auth: &Auth, top: &Table<'_>) {
        if self.listen.is_none() || !auth.keys.is_empty() || !auth.operator_tokens.is_empty() {
            return;
        }
        let listen = top
            .get("server")
            .and_then(|section| section.names())
            .and_then(|section| section.get("listen"));
        if let Some(listen) = listen {
            listen.mistake::<()>(
                format!("`{}` is set, but no key could sign a request", listen.path),
                Some(
                    "add `[auth.hmac.ci]` with `secret_file` and `services`, or remove `listen` to use the unix socket only",
                ),
            );
        }
    }
}
