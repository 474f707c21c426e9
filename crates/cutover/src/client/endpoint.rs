//! Where the daemon is: a unix socket on this machine, or a URL.

use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;

use crate::arguments::ClientArgs;
use crate::client::failure::Failure;

/// The address, where none is typed.
const URL_VARIABLE: &str = "CUTOVER_URL";

/// The socket, where neither is typed and no address is set.
const SOCKET_VARIABLE: &str = "CUTOVER_SOCKET";

/// Where the daemon listens unless its configuration says otherwise; the help of `--socket` names it.
const SOCKET_DEFAULT: &str = "/run/cutover/cutover.sock";

/// Where requests go.
#[derive(Debug, Clone)]
pub(crate) enum Endpoint {
    /// The local daemon; who may open the socket may do everything.
    Socket(PathBuf),
    /// A daemon over the network, or one behind a path of a reverse proxy.
    Network(Url),
}

impl Endpoint {
    /// The endpoint that is typed, and else the one in the environment; in each, a URL wins over the
    /// socket. What is empty counts as missing, as CI writes a variable that is not set.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a URL that must not or cannot be used.
    pub(crate) fn from_arguments(arguments: &ClientArgs) -> Result<Self, Failure> {
        let typed = Self::choose(arguments.url.clone(), arguments.socket.clone())?;
        if let Some(typed) = typed {
            return Ok(typed);
        }
        let url = std::env::var_os(URL_VARIABLE).map(std::ffi::OsString::into_string);
        let url = url.transpose().map_err(|_| {
            Failure::usage(
                format!("{URL_VARIABLE} is not UTF-8"),
                "correct the variable, or give --url or --socket",
            )
        })?;
        let socket = std::env::var_os(SOCKET_VARIABLE).map(PathBuf::from);
        let set = Self::choose(url, socket)?;
        Ok(set.unwrap_or_else(|| Self::Socket(PathBuf::from(SOCKET_DEFAULT))))
    }

    /// The URL, or else the socket, unless both are missing.
    fn choose(url: Option<String>, socket: Option<PathBuf>) -> Result<Option<Self>, Failure> {
        if let Some(url) = url.filter(|url| !url.is_empty()) {
            return parse_url(&url).map(|url| Some(Self::Network(url)));
        }
        let socket = socket.filter(|path| !path.as_os_str().is_empty());
        Ok(socket.map(Self::Socket))
    }

    /// The URL of a resource given by its path segments.
    pub(crate) fn resource(&self, segments: &[&str]) -> Url {
        let mut url = match self {
            Self::Socket(_) => {
                Url::parse("http://localhost/").expect("the constant is a well-formed URL")
            }
            Self::Network(url) => url.clone(),
        };
        url.path_segments_mut()
            .expect("http and https URLs have path segments")
            .pop_if_empty()
            .extend(segments);
        url
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Network(url) => f.write_str(url.as_str().trim_end_matches('/')),
        }
    }
}

/// Reads a base URL. Credentials, queries and plain HTTP to other machines are refused.
fn parse_url(text: &str) -> Result<Url, Failure> {
    let example = "give it as https://deploy.example.com or https://deploy.example.com:8443";
    let url = Url::parse(text)
        .map_err(|error| Failure::usage(format!("the URL is not usable: {error}"), example))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::usage(
            "the URL holds a user name or a password",
            "cutover signs requests instead: --secret-file FILE, or --token-file FILE for an operator",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Failure::usage("the URL has a `?` or `#` part", example));
    }
    if url.path().trim_end_matches('/').ends_with("/deploy") {
        return Err(Failure::usage(
            "the URL ends in /deploy",
            "leave /deploy out: cutover adds the path of each resource itself",
        ));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(Failure::usage(
            "plain http:// is accepted only to this machine",
            "use https://: over plain HTTP anyone on the way reads what the daemon answers",
        )),
        other => Err(Failure::usage(
            format!("the URL's scheme is {other}://"),
            example,
        )),
    }
}

/// Whether the URL's host is this machine, without asking a name server.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || literal
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    #[test]
    fn the_help_names_the_variables_and_the_default() {
        let command = ClientArgs::augment_args(clap::Command::new("cutover"));
        let help = |id: &str| {
            let argument = command
                .get_arguments()
                .find(|argument| argument.get_id() == id);
            argument
                .and_then(clap::Arg::get_help)
                .expect("a help text")
                .to_string()
        };
        assert!(help("url").ends_with(&format!("[env: {URL_VARIABLE}]")));
        assert!(help("socket").ends_with(&format!(
            "[env: {SOCKET_VARIABLE}] [default: {SOCKET_DEFAULT}]"
        )));
    }

    #[test]
    fn a_path_of_a_reverse_proxy_is_kept() {
        for base in ["https://x.example/cutover", "https://x.example/cutover/"] {
            let endpoint = Endpoint::Network(parse_url(base).expect("a good URL"));
            assert_eq!(
                endpoint.resource(&["v1", "services", "a"]).as_str(),
                "https://x.example/cutover/v1/services/a"
            );
        }
        let bare = Endpoint::Network(parse_url("https://x.example").expect("a good URL"));
        assert_eq!(
            bare.resource(&["deploy"]).as_str(),
            "https://x.example/deploy"
        );
    }

    #[test]
    fn plain_http_goes_only_to_this_machine() {
        for fine in [
            "http://localhost:1",
            "http://127.0.0.1",
            "http://[::1]:8080",
            "http://127.9.9.9",
        ] {
            assert!(parse_url(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "http://example.com",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://[::2]",
            "ftp://localhost",
            "deploy.example.com",
            "https://user:word@example.com",
            "https://example.com/?token=x",
            "https://example.com/deploy",
            "https://example.com/deploy/",
        ] {
            assert!(parse_url(wrong).is_err(), "{wrong}");
        }
    }
}
