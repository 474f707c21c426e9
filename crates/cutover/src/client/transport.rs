//! Why a request did not get an answer, told in a way that names the next thing to do.
//!
//! The HTTP library wraps errors in errors; this walks down to the one that matters. What is decided
//! here is [`Failure::NotReached`] (certainly not accepted) against [`Failure::Lost`] (perhaps accepted).

use std::error::Error;
use std::io;
use std::path::Path;

use cutover_core::plain::plain;

use crate::client::endpoint::Endpoint;
use crate::client::failure::{Failure, Outlook};

mod operators;
mod tls;

/// The failure that a transport error is, for a request to `endpoint`.
pub(crate) fn explain(error: &reqwest::Error, endpoint: &Endpoint) -> Failure {
    if error.is_builder() {
        return Failure::usage(
            format!("the request could not be built: {}", innermost(error)),
            "nothing was sent; check the URL, the token and the trusted certificates of this machine",
        );
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return tls::explain(tls, endpoint);
    }
    if error.is_connect() {
        return match endpoint {
            Endpoint::Socket(path) => explain_socket(find::<io::Error>(error), path),
            Endpoint::Network(_) => explain_connection(error, endpoint),
        };
    }
    Failure::Lost {
        what: if error.is_timeout() {
            format!("{endpoint} did not answer in time")
        } else {
            format!(
                "the connection to {endpoint} broke before the answer came: {}",
                innermost(error)
            )
        },
        hint: "the daemon may have acted on the request: look with `cutover status`".to_owned(),
    }
}

/// Why the local daemon's socket could not be opened.
fn explain_socket(error: Option<&io::Error>, path: &Path) -> Failure {
    let socket = path.display();
    let kind = error.map(io::Error::kind);
    let (what, hint, outlook) = match kind {
        Some(io::ErrorKind::PermissionDenied) => (
            format!("{socket} may not be opened by this user"),
            operators::hint(path),
            Outlook::WillStay,
        ),
        Some(io::ErrorKind::NotFound) => (
            format!("no cutover daemon runs on this machine: {socket} does not exist"),
            "start it with `systemctl start cutover`, name another socket with --socket, \
             or reach a daemon elsewhere with --url https://…"
                .to_owned(),
            Outlook::MayPass,
        ),
        Some(io::ErrorKind::ConnectionRefused) => (
            format!("the cutover daemon is not running: nothing listens on {socket}"),
            "start it with `systemctl start cutover`; why it stopped is in `journalctl --unit cutover`"
                .to_owned(),
            Outlook::MayPass,
        ),
        _ => (
            match error {
                Some(error) => format!("{socket} could not be opened: {error}"),
                None => format!("{socket} could not be opened"),
            },
            "see whether the daemon runs: `systemctl status cutover`".to_owned(),
            Outlook::MayPass,
        ),
    };
    Failure::NotReached {
        what,
        hint,
        outlook,
    }
}

/// Why a connection over the network did not come about.
fn explain_connection(error: &reqwest::Error, endpoint: &Endpoint) -> Failure {
    let kind = find::<io::Error>(error).map(io::Error::kind);
    let (what, hint) = if error.is_timeout() || kind == Some(io::ErrorKind::TimedOut) {
        (
            format!("{endpoint} did not answer to a connection attempt"),
            "check the address and whether a firewall lets this machine through",
        )
    } else if kind == Some(io::ErrorKind::ConnectionRefused) {
        (
            format!("nothing listens at {endpoint}"),
            "check host and port, and on the server `systemctl status cutover` and `listen` in its configuration",
        )
    } else if chain(error).any(|cause| cause.to_string() == "dns error") {
        (
            format!(
                "the name in {endpoint} could not be looked up: {}",
                no_address(&innermost(error))
            ),
            "check the spelling of the host name and this machine's name servers",
        )
    } else {
        (
            format!("no connection to {endpoint}: {}", innermost(error)),
            "check the address, and on the server `systemctl status cutover`",
        )
    };
    Failure::NotReached {
        what,
        hint: hint.to_owned(),
        outlook: Outlook::MayPass,
    }
}

/// The errors from `error` down to the innermost one.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| within(*error))
}

/// The error inside of `error`. An I/O error hides the one that it was made of from `source`.
fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// The first error of type `E` in the chain.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref::<E>())
}

/// The text of the innermost error, which says most, in words.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let last = chain(error).last();
    last.map_or_else(String::new, |last| plain(&last.to_string()))
}

/// What a name server says of a name that it has no address for, without the question.
fn no_address(said: &str) -> &str {
    if said.starts_with("no records found for") {
        "no name server knows an address for it"
    } else {
        said
    }
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[test]
    fn a_socket_that_may_not_be_opened_names_root_and_the_group() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let failure = explain_socket(Some(&denied), Path::new("/run/cutover/cutover.sock"));
        assert!(
            failure
                .to_string()
                .contains("may not be opened by this user"),
            "{failure}"
        );
        assert!(failure.hint().contains("as root"), "{}", failure.hint());
        assert!(
            failure.hint().contains("group `cutover`"),
            "{}",
            failure.hint()
        );
    }

    #[test]
    fn a_name_without_an_address_is_told_without_the_question() {
        let said = "no records found for Query { name: Name(\"x.\"), query_type: AAAA }";
        assert_eq!(
            no_address(&plain(said)),
            "no name server knows an address for it"
        );
        assert_eq!(no_address("request timed out"), "request timed out");
    }

    #[test]
    fn an_error_inside_an_io_error_is_found() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let wrapped = io::Error::other(io::Error::other(tls));
        assert!(find::<rustls::Error>(&wrapped).is_some());
        assert_eq!(innermost(&wrapped), "invalid peer certificate: Expired");
    }
}
