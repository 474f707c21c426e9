//! Why there is no TLS connection, and who has to do what.

use cutover_core::plain::plain;
use rustls::CertificateError;

use crate::client::endpoint::Endpoint;
use crate::client::failure::{Failure, Outlook};

/// What is wrong with the server's certificate, or with TLS as such.
pub(super) fn explain(error: &rustls::Error, endpoint: &Endpoint) -> Failure {
    let (what, hint) = match error {
        rustls::Error::InvalidCertificate(problem) => explain_certificate(problem, endpoint),
        rustls::Error::InvalidMessage(_) => (
            format!("{endpoint} does not speak TLS on this port"),
            "check the port; a daemon that listens with plain HTTP is reached through a proxy with TLS".to_owned(),
        ),
        other => (
            format!("no TLS connection to {endpoint}: {}", plain(&other.to_string())),
            "see the server's side with `journalctl --unit cutover`".to_owned(),
        ),
    };
    Failure::NotReached {
        what,
        hint,
        outlook: Outlook::WillStay,
    }
}

/// What is wrong with a certificate and who has to do what.
fn explain_certificate(problem: &CertificateError, endpoint: &Endpoint) -> (String, String) {
    let renew = "renew the certificate on the server; cutover reads it again when the file changes";
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            format!("the certificate of {endpoint} has expired"),
            renew.to_owned(),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            format!("the certificate of {endpoint} is not valid yet"),
            "compare the clocks of this machine and of the server".to_owned(),
        ),
        // A self-made authority that was made anew has the old one's name but not its key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            format!("the certificate of {endpoint} was issued by nobody this machine trusts"),
            "for a certificate of your own authority, set SSL_CERT_FILE to the authority's PEM file; \
             for a public one, see that the server sends the whole chain"
                .to_owned(),
        ),
        CertificateError::NotValidForName => (
            format!("the certificate of {endpoint} is for another name"),
            "use a name that the certificate lists".to_owned(),
        ),
        CertificateError::NotValidForNameContext { presented, .. } => (
            format!("the certificate of {endpoint} is for another name"),
            if presented.is_empty() {
                "the certificate lists no name at all: issue one with the server's name".to_owned()
            } else {
                let names: Vec<String> = presented.iter().map(|name| plain(name)).collect();
                format!("it is for {}", names.join(", "))
            },
        ),
        CertificateError::Revoked => (
            format!("the certificate of {endpoint} was revoked"),
            renew.to_owned(),
        ),
        // What `openssl req -x509` makes unless it is told otherwise.
        other if other.to_string().contains("CaUsedAsEndEntity") => (
            format!("the certificate of {endpoint} is that of an authority, not of a server"),
            "make it with `-addext basicConstraints=CA:FALSE`, or let the authority issue one for the server"
                .to_owned(),
        ),
        other => (
            format!(
                "the certificate of {endpoint} was refused: {}",
                plain(&other.to_string())
            ),
            renew.to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{AlertDescription, Error, OtherError, PeerIncompatible};

    use super::*;

    /// What is told of an error, and what to do.
    fn told(error: &Error) -> String {
        let url = "https://deploy.example.com".parse().expect("a URL");
        let failure = explain(error, &Endpoint::Network(url));
        format!("{failure}; {}", failure.hint())
    }

    #[test]
    fn no_error_of_tls_is_told_in_the_words_of_a_programmer() {
        let other_name = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("deploy.example.com").expect("a name"),
            presented: vec![
                "DnsName(\"shop.example.com\")".to_owned(),
                "IpAddress(10.0.0.1)".to_owned(),
            ],
        };
        let other = CertificateError::Other(OtherError(std::sync::Arc::new(
            std::io::Error::other("UnknownThing(\"x\")"),
        )));
        for (error, words) in [
            (
                Error::InvalidCertificate(other_name),
                "it is for shop.example.com, 10.0.0.1",
            ),
            (
                Error::InvalidCertificate(CertificateError::BadEncoding),
                "was refused: bad encoding",
            ),
            (
                Error::InvalidCertificate(CertificateError::InvalidPurpose),
                "was refused: invalid purpose",
            ),
            (Error::InvalidCertificate(other), "was refused: "),
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "no TLS connection to https://deploy.example.com: received fatal alert: handshake failure",
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
                "server does not support tls12 or13",
            ),
        ] {
            let told = told(&error);
            assert!(told.contains(words), "{told}");
            for debug in [
                "(\"",
                "DnsName",
                "Handshake",
                "BadEncoding",
                "UnknownThing",
                "{ ",
            ] {
                assert!(!told.contains(debug), "{told}");
            }
        }
    }
}
