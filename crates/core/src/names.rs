//! The names that a request or a configuration may use, each checked once, where it enters.

use std::fmt;

/// The longest service name; container names derived from it stay below Docker's and DNS' limits.
pub const SERVICE_NAME_LEN_MAX: usize = 63;

/// The longest delivery id.
pub const DELIVERY_ID_LEN_MAX: usize = 128;

/// The longest tag, from the distribution specification's grammar.
pub const TAG_LEN_MAX: usize = 128;

/// A name that does not have the allowed form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {allowed}")]
pub struct InvalidName {
    /// Which name.
    pub what: &'static str,
    /// What is allowed, in words.
    pub allowed: &'static str,
}

/// A service as configured under `[services]`; the same characters as a Compose service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(String);

impl ServiceName {
    /// Checks `text`.
    ///
    /// # Errors
    /// Anything but 1 to 63 of `a-z A-Z 0-9 . _ -`, beginning with a letter or digit, without `..`.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let fine = text.len() <= SERVICE_NAME_LEN_MAX
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && !text.contains("..");
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName {
                what: "service",
                allowed: "1 to 63 of `A-Za-z0-9._-`, beginning with a letter or digit, without `..`",
            })
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The idempotency key of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeliveryId(String);

impl DeliveryId {
    /// Checks `text`.
    ///
    /// # Errors
    /// Anything but 1 to 128 of `A-Za-z0-9._:-`.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let fine = (1..=DELIVERY_ID_LEN_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName {
                what: "delivery_id",
                allowed: "1 to 128 of `A-Za-z0-9._:-`",
            })
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a deployment: a UUID, so that ids sort by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentId(String);

impl DeploymentId {
    /// Checks `text`.
    ///
    /// # Errors
    /// Anything but a hyphenated lower-case UUID.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let fine = text.len() == 36
            && text.bytes().enumerate().all(|(i, b)| match i {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
            });
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName {
                what: "deployment",
                allowed: "a UUID as printed by `cutover history`",
            })
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last eight digits, the random part: enough to tell containers of one service apart.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[28..]
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tag that an image reference can carry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tag(String);

impl Tag {
    /// Checks `text` against the grammar of tags, the bound of every `tag_pattern`.
    ///
    /// # Errors
    /// Anything but 1 to 128 of `A-Za-z0-9_.-`, not beginning with `.` or `-`.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let fine = (1..=TAG_LEN_MAX).contains(&text.len())
            && !text.starts_with(['.', '-'])
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName {
                what: "image_sha",
                allowed: "a tag: 1 to 128 of `A-Za-z0-9_.-`, not beginning with `.` or `-`",
            })
        }
    }

    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a full commit sha: 40 or 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn is_commit_sha(&self) -> bool {
        matches!(self.0.len(), 40 | 64)
            && self
                .0
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which tags a service accepts: literal characters, `*` (any run) and `?` (any one character).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPattern(String);

impl TagPattern {
    /// Checks `text`.
    ///
    /// # Errors
    /// Anything but 1 to 128 of the characters of a tag, `*` and `?`.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let fine = (1..=TAG_LEN_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.-*?".contains(&b));
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName {
                what: "tag_pattern",
                allowed: "characters of a tag, `*` for any run of them and `?` for any one, for example `v*`",
            })
        }
    }

    /// Whether `tag` matches from its first to its last character.
    #[must_use]
    pub fn matches(&self, tag: &Tag) -> bool {
        glob(self.0.as_bytes(), tag.0.as_bytes())
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Matches with one remembered `*`, so in time bounded by the product of both lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    p = after + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_names_cannot_leave_their_place() {
        for fine in ["app", "web-1", "shop.api", "a", &"x".repeat(63)] {
            assert!(ServiceName::new(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "",
            "a/b",
            "..",
            "a..b",
            "-app",
            ".app",
            "аpp",
            "a\0",
            "a b",
            &"x".repeat(300),
        ] {
            assert!(ServiceName::new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_full_lower_case_shas_are_commit_shas() {
        let sha = |text: &str| Tag::new(text).is_ok_and(|tag| tag.is_commit_sha());
        assert!(sha(&"a1".repeat(20)));
        assert!(sha(&"0f".repeat(32)));
        for wrong in [
            &"a".repeat(39),
            &"a".repeat(41),
            &"A".repeat(40),
            &"g".repeat(40),
            "latest",
            "",
        ] {
            assert!(!sha(wrong), "{wrong:?}");
        }
        for wrong in ["../../x", "--all-tags", "a;reboot", "$(id)", "`id`", "a\n"] {
            assert!(Tag::new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn tag_patterns_match_whole_tags() {
        let matches = |pattern: &str, tag: &str| {
            TagPattern::new(pattern)
                .expect(pattern)
                .matches(&Tag::new(tag).expect(tag))
        };
        assert!(matches("v*", "v1.2.3"));
        assert!(!matches("v*", "1.2.3"));
        assert!(matches("v?.*", "v1.22"));
        assert!(!matches("v?.?", "v1.22"));
        assert!(matches("*-rc*", "1.0-rc1"));
        assert!(!matches("release", "release-1"));
    }

    #[test]
    fn deployment_ids_are_uuids() {
        let id = DeploymentId::new("01938f3e-7c1a-7abc-8def-0123456789ab").expect("a UUID");
        assert_eq!(id.short(), "456789ab");
        assert!(DeploymentId::new("01938f3e-7c1a-7abc-8def-0123456789aB").is_err());
        assert!(DeploymentId::new("../etc/passwd").is_err());
    }
}
