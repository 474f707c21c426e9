//! What the daemon's certificate says to those who connect: for which names, from whom, until when.
//!
//! A daemon serves an expired certificate rather than none. Its clients refuse it, so `check` says so.

use std::net::IpAddr;
use std::path::Path;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use super::Finding;

/// A certificate that ends sooner should have been renewed: the usual tools do so 30 days before.
const RENEWED_BEFORE_DAYS: i64 = 14;

const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// What the first certificate of the file means for clients at `now`. It was loaded before, so it can be read.
pub(super) fn look(path: &Path, now: Timestamp) -> Finding {
    let unreadable = |why: String| {
        let what = format!(
            "the certificate in {} cannot be read: {why}",
            path.display()
        );
        Finding::warning("tls", what, "see that clients accept it")
    };
    let der = match CertificateDer::from_pem_file(path) {
        Ok(der) => der,
        Err(error) => return unreadable(error.to_string()),
    };
    match x509_parser::parse_x509_certificate(&der) {
        Ok((_, certificate)) => judge(path, &certificate, now),
        Err(error) => unreadable(error.to_string()),
    }
}

fn judge(path: &Path, certificate: &X509Certificate<'_>, now: Timestamp) -> Finding {
    let validity = certificate.validity();
    let (begin, end) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    let about = format!(
        "the certificate in {} (for {}, issued by {})",
        path.display(),
        names(certificate),
        certificate.issuer()
    );
    let now = now.as_second();
    if end < now {
        let what = format!("{about} has expired on {}", day(end));
        return Finding::mistake("tls", what, "renew it; clients refuse it");
    }
    if begin > now {
        let what = format!("{about} is not valid before {}", day(begin));
        let advice = "clients refuse it until then; see that this machine's clock is right";
        return Finding::mistake("tls", what, advice);
    }
    if end - now < RENEWED_BEFORE_DAYS * SECONDS_A_DAY {
        let what = format!("{about} expires on {}", day(end));
        return Finding::warning("tls", what, "renew it before");
    }
    if certificate.issuer() == certificate.subject() {
        let what = format!("{about} is signed by itself");
        let advice = "clients refuse it unless they are told to trust it: take one of an authority that they know, such as Let's Encrypt";
        return Finding::warning("tls", what, advice);
    }
    Finding::fine("tls", format!("{about} is valid until {}", day(end)))
}

/// The names that a client may call the server by.
fn names(certificate: &X509Certificate<'_>) -> String {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names = alternative
        .iter()
        .flat_map(|found| &found.value.general_names);
    let names: Vec<String> = names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match *bytes {
                [a, b, c, d] => Some(IpAddr::from([*a, *b, *c, *d]).to_string()),
                bytes => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
            },
            _ => None,
        })
        .collect();
    match names.is_empty() {
        true => "no name at all".to_owned(),
        false => names.join(", "),
    }
}

fn day(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(
        |_out_of_range| format!("second {seconds}"),
        |at| at.strftime("%Y-%m-%d").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, date_time_ymd};

    use super::super::Level;
    use super::*;

    /// What is said of a certificate of these years, signed by an authority or by itself, in the middle of 2026.
    fn said(years: (i32, i32), by_authority: bool) -> (Level, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tls.crt");
        let names = ["app.example.com".to_owned(), "192.0.2.7".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 7, 1);
        let key = KeyPair::generate().expect("a key");
        let pem = if by_authority {
            let mut authority = CertificateParams::default();
            authority
                .distinguished_name
                .push(rcgen::DnType::CommonName, "Example CA");
            let own = KeyPair::generate().expect("a key");
            let authority = CertifiedIssuer::self_signed(authority, own).expect("an authority");
            params.signed_by(&key, &authority).expect("signed").pem()
        } else {
            params.self_signed(&key).expect("signed").pem()
        };
        std::fs::write(&path, pem).expect("written");
        let now = "2026-06-20T00:00:00Z".parse().expect("a time");
        let found = look(&path, now);
        (found.level, found.found)
    }

    #[test]
    fn what_clients_would_refuse_is_said_with_names_issuer_and_day() {
        for (years, by_authority, level, words) in [
            ((2024, 2027), true, Level::Fine, "is valid until 2027-07-01"),
            (
                (2024, 2025),
                true,
                Level::Mistake,
                "has expired on 2025-07-01",
            ),
            (
                (2027, 2028),
                true,
                Level::Mistake,
                "is not valid before 2027-01-01",
            ),
            ((2024, 2026), true, Level::Warning, "expires on 2026-07-01"),
            ((2024, 2027), false, Level::Warning, "is signed by itself"),
        ] {
            let (found, text) = said(years, by_authority);
            assert_eq!(found, level, "{text}");
            assert!(text.ends_with(words), "{text}");
            assert!(
                text.contains("for app.example.com, 192.0.2.7, issued by"),
                "{text}"
            );
            assert_eq!(text.contains("Example CA"), by_authority, "{text}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_said() {
        let found = look(Path::new("/nonexistent/tls.crt"), Timestamp::UNIX_EPOCH);
        assert_eq!(found.level, Level::Warning);
        assert!(found.found.contains("cannot be read"), "{}", found.found);
    }
}
