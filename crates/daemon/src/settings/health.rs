//! `[services.NAME.health]`: what must answer besides the container's own health check.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::table::{Table, Value};
use super::value::shown;

pub(super) const KEYS: &[&str] = &["http", "tcp", "command"];

pub(super) const HTTP_KEYS: &[&str] = &[
    "url",
    "port",
    "path",
    "status",
    "host",
    "tls",
    "interval",
    "timeout",
    "body_bytes_max",
];

pub(super) const TCP_KEYS: &[&str] = &["port", "interval", "timeout"];

/// Often enough that a release is found healthy soon after it is.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(500);

/// An answer that takes longer is no answer for a user either.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

/// The shortest interval and timeout; shorter ones would load the service that they watch.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// To start a command in a container takes Docker some 50 ms.
const COMMAND_INTERVAL: Duration = Duration::from_secs(1);

/// As long as a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of an answer is read. A probe needs only the status; a little of the body goes into the
/// record when the status is wrong.
const DEFAULT_BODY_BYTES_MAX: u32 = 64 * 1024;

/// The longest path of a probe.
const PATH_LEN_MAX: usize = 1024;

/// What must answer besides the container's own health check; all of it must.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// An HTTP request.
    pub http: Option<HttpProbe>,
    /// An HTTP request by the way that users come in.
    pub url: Option<UrlProbe>,
    /// A TCP connection.
    pub tcp: Option<TcpProbe>,
    /// A command in the container.
    pub command: Option<CommandProbe>,
}

impl Health {
    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            http,
            url,
            tcp,
            command,
        } = self;
        http.is_none() && url.is_none() && tcp.is_none() && command.is_none()
    }
}

/// An HTTP request to an address at which users come in, perhaps through a proxy; its certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlProbe {
    /// The address.
    pub url: String,
    /// Which answers are healthy, how often and for how long; what says where the container is does not count.
    pub http: HttpProbe,
}

/// A command that is run in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandProbe {
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// The time between two runs.
    pub interval: Duration,
    /// The bound on one run.
    pub timeout: Duration,
}

/// An HTTP request to the container itself, not to a published port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// The port inside the container; without one, the only port that the container exposes.
    pub port: Option<u16>,
    /// The path, with its query if it has one.
    pub path: String,
    /// Which statuses are healthy. Redirects are not followed.
    pub status: RangeInclusive<u16>,
    /// The `Host` header and the TLS server name; without one, the container's address.
    pub host: Option<String>,
    /// Whether the container speaks TLS.
    pub tls: HttpTls,
    /// The time between two requests.
    pub interval: Duration,
    /// The bound on one request, from connecting to the last byte that is read.
    pub timeout: Duration,
    /// How many bytes of the answer's body are read at most.
    pub body_bytes_max: u32,
}

impl Default for HttpProbe {
    fn default() -> Self {
        Self {
            port: None,
            path: "/".to_owned(),
            status: 200..=299,
            host: None,
            tls: HttpTls::Off,
            interval: DEFAULT_INTERVAL,
            timeout: DEFAULT_TIMEOUT,
            body_bytes_max: DEFAULT_BODY_BYTES_MAX,
        }
    }
}

/// Whether a container speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpTls {
    /// Plain HTTP.
    Off,
    /// HTTPS, with a certificate that the machine trusts.
    On,
    /// HTTPS, with any certificate: the connection never leaves the machine.
    OnWithoutVerification,
}

/// A TCP connection to the container that is closed again at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpProbe {
    /// The port inside the container.
    pub port: u16,
    /// The time between two connections.
    pub interval: Duration,
    /// The bound on connecting.
    pub timeout: Duration,
}

impl TcpProbe {
    /// A probe of `port` with the usual times.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self {
            port,
            interval: DEFAULT_INTERVAL,
            timeout: DEFAULT_TIMEOUT,
        }
    }
}

/// Reads the table `health` of a service.
pub(super) fn read(value: &Value<'_>) -> Option<Health> {
    let table = value.table(KEYS)?;
    let (http, url) = table
        .get("http")
        .as_ref()
        .and_then(read_http)
        .unwrap_or_default();
    let tcp = table.get("tcp").as_ref().and_then(read_tcp);
    let command = table.get("command").as_ref().and_then(read_command);
    Some(Health {
        http,
        url,
        tcp,
        command,
    })
}

/// The probe of the container, and that of the URL. With a URL alone, the container is not asked.
fn read_http(value: &Value<'_>) -> Option<(Option<HttpProbe>, Option<UrlProbe>)> {
    let table = value.table(HTTP_KEYS)?;
    let probe = read_http_probe(value, &table)?;
    let Some(url) = table.get("url").as_ref().and_then(read_url) else {
        return Some((Some(probe), None));
    };
    let of_container = ["port", "path", "host", "tls"];
    let is_asked = of_container.iter().any(|key| table.get(key).is_some());
    let url = UrlProbe {
        url,
        http: probe.clone(),
    };
    Some((is_asked.then_some(probe), Some(url)))
}

fn read_url(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let parsed = text.parse::<http::Uri>().ok();
    let fine = parsed.is_some_and(|url| {
        let authority = url.authority().map_or("@", |authority| authority.as_str());
        matches!(url.scheme_str(), Some("http" | "https")) && !authority.contains('@')
    });
    if fine && !text.contains('#') && text.len() <= PATH_LEN_MAX {
        return Some(text.to_owned());
    }
    value.mistake(
        format!(
            "`{}` must be an address that begins with http:// or https://, without a user, not {}",
            value.path,
            shown(text)
        ),
        Some("for example \"https://app.example.com/health\""),
    )
}

fn read_command(value: &Value<'_>) -> Option<CommandProbe> {
    Some(CommandProbe {
        command: value.command("[\"/usr/bin/pg_isready\", \"-q\"]")?,
        interval: COMMAND_INTERVAL,
        timeout: COMMAND_TIMEOUT,
    })
}

fn read_http_probe(value: &Value<'_>, table: &Table<'_>) -> Option<HttpProbe> {
    let mut probe = HttpProbe {
        port: table.get("port").and_then(|value| value.port()),
        host: table.get("host").as_ref().and_then(read_host),
        ..HttpProbe::default()
    };
    if let Some(path) = table.get("path").as_ref().and_then(read_path) {
        probe.path = path;
    }
    if let Some(status) = table.get("status").as_ref().and_then(read_status) {
        probe.status = status;
    }
    let tls = table.get("tls").and_then(|value| {
        value.choice(&[
            ("off", HttpTls::Off),
            ("verify", HttpTls::On),
            ("insecure", HttpTls::OnWithoutVerification),
        ])
    });
    probe.tls = tls.unwrap_or(probe.tls);
    if probe.tls == HttpTls::On && table.get("host").is_none() {
        table.get("tls")?.mistake::<()>(
            format!(
                "`{}.host` is missing, so there is no name to verify",
                value.path
            ),
            Some("add `host`, or use `tls = \"insecure\"`: the probe never leaves this machine"),
        );
    }
    let time = |key| {
        table
            .get(key)
            .and_then(|value| value.duration(INTERVAL_MIN))
    };
    probe.interval = time("interval").unwrap_or(probe.interval);
    probe.timeout = time("timeout").unwrap_or(probe.timeout);
    let bytes = table
        .get("body_bytes_max")
        .and_then(|value| value.number(0..=16 * 1024 * 1024));
    probe.body_bytes_max = bytes.unwrap_or(probe.body_bytes_max);
    Some(probe)
}

fn read_tcp(value: &Value<'_>) -> Option<TcpProbe> {
    let table = value.table(TCP_KEYS)?;
    let port = table
        .require("port", "the port inside the container")
        .and_then(|value| value.port());
    let time = |key| {
        table
            .get(key)
            .and_then(|value| value.duration(INTERVAL_MIN))
    };
    let (interval, timeout) = (time("interval"), time("timeout"));
    let mut probe = TcpProbe::new(port?);
    probe.interval = interval.unwrap_or(probe.interval);
    probe.timeout = timeout.unwrap_or(probe.timeout);
    Some(probe)
}

/// What an HTTP request line can carry.
fn read_path(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let fine = text.starts_with('/')
        && text.len() <= PATH_LEN_MAX
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if fine {
        return Some(text.to_owned());
    }
    value.mistake(
        format!(
            "`{}` must begin with `/` and have only visible ASCII characters, not {}",
            value.path,
            shown(text)
        ),
        Some("for example \"/healthz\""),
    )
}

fn read_host(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let fine = !text.contains('@') && text.parse::<http::uri::Authority>().is_ok();
    if fine {
        return Some(text.to_owned());
    }
    value.mistake(
        format!(
            "`{}` must be a host name, with a port if need be, not {}",
            value.path,
            shown(text)
        ),
        Some("for example \"shop.example.com\""),
    )
}

/// `"200-299"`, `"204"`, or the number 204.
fn read_status(value: &Value<'_>) -> Option<RangeInclusive<u16>> {
    const HELP: &str = "for example \"200-299\" or \"204\"";
    let text = match value.raw() {
        toml::de::DeValue::Integer(number) => number.to_string(),
        _ => value.text()?.to_owned(),
    };
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let number = |text: &str| {
        let three_digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>()
            .ok()
            .filter(|number| three_digits && (100..=599).contains(number))
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Some(first..=last),
        _ => value.mistake(
            format!(
                "`{}` must be one HTTP status or a range of them from 100 to 599, not {}",
                value.path,
                shown(&text)
            ),
            Some(HELP),
        ),
    }
}
