//! Request signatures: HMAC-SHA256 over the raw body, as GitHub signs its webhooks.
//!
//! <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>

use aws_lc_rs::hmac;

/// A header value that is not `sha256=` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("signature is not `sha256=` followed by 64 hexadecimal digits")]
pub struct MalformedSignature;

/// The signature of one body, as parsed from its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 32]);

impl Signature {
    /// Reads the value of the signature header.
    ///
    /// # Errors
    /// Anything but the exact form, in either case of the digits, is [`MalformedSignature`].
    pub fn parse(header: &[u8]) -> Result<Self, MalformedSignature> {
        let digits = header.strip_prefix(b"sha256=").ok_or(MalformedSignature)?;
        let mut mac = [0; 32];
        hex::decode_to_slice(digits, &mut mac).map_err(|_| MalformedSignature)?;
        Ok(Self(mac))
    }

    /// Whether this signs `body` under `secret`; compared in constant time.
    #[must_use]
    pub fn verifies(&self, secret: &[u8], body: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        hmac::verify(&key, body, &self.0).is_ok()
    }
}

/// The header value that signs `body` under `secret`.
#[must_use]
pub fn sign(secret: &[u8], body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("sha256={}", hex::encode(hmac::sign(&key, body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that GitHub publishes for checking an implementation.
    #[test]
    fn published_vector_is_reproduced() {
        let header = sign(b"It's a Secret to Everybody", b"Hello, World!");
        assert_eq!(
            header,
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
        let signature = Signature::parse(header.as_bytes()).expect("own header parses");
        assert!(signature.verifies(b"It's a Secret to Everybody", b"Hello, World!"));
    }

    #[test]
    fn any_change_of_body_secret_or_signature_is_noticed() {
        let header = sign(b"secret", b"body");
        let signature = Signature::parse(header.as_bytes()).expect("own header parses");
        assert!(!signature.verifies(b"secret", b"bodY"));
        assert!(!signature.verifies(b"secreT", b"body"));
        for position in 7..header.len() {
            let mut tampered = header.clone().into_bytes();
            tampered[position] = if tampered[position] == b'0' {
                b'1'
            } else {
                b'0'
            };
            let tampered = Signature::parse(&tampered).expect("still well formed");
            assert!(!tampered.verifies(b"secret", b"body"), "digit {position}");
        }
    }

    #[test]
    fn only_the_exact_form_is_read() {
        let digits = "a".repeat(64);
        assert!(Signature::parse(format!("sha256={digits}").as_bytes()).is_ok());
        assert!(Signature::parse(format!("sha256={}", "A".repeat(64)).as_bytes()).is_ok());
        for wrong in [
            String::new(),
            digits.clone(),
            "sha256=".into(),
            format!("sha1={}", "a".repeat(40)),
            format!("sha256={}", "a".repeat(63)),
            format!("sha256={}", "a".repeat(65)),
            format!("sha256={}g", "a".repeat(63)),
            format!("sha256={digits} "),
            format!("sha256={digits}\0"),
            format!(" sha256={digits}"),
            format!("sha256={digits},sha256={digits}"),
            format!("SHA256={digits}"),
            format!("sha256={}", "١".repeat(32)),
        ] {
            assert!(Signature::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
