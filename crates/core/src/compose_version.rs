//! Which versions of Compose and of Docker Engine's API cutover works with.
//!
//! The versions are read from what `docker compose version --short` prints and from what Docker answers
//! to `GET /version`. A suffix of a version (`-rc.1`, `+ds1-1`) says who built it and decides nothing.

use std::fmt;
use std::str::FromStr;

/// The oldest Compose whose calls the staging socket understands.
pub const MINIMUM: ComposeVersion = ComposeVersion {
    major: 2,
    minor: 20,
    patch: 0,
};

/// The first Compose that leaves `depends_on` out when it compares a container with its service's definition.
pub const WITHOUT_DEPENDENCIES: ComposeVersion = ComposeVersion {
    major: 2,
    minor: 29,
    patch: 3,
};

/// The oldest API of Docker Engine, that of Engine 23.
pub const API_MINIMUM: ApiVersion = ApiVersion {
    major: 1,
    minor: 42,
};

/// The newest API of Docker Engine that cutover is tested with; a newer Engine is spoken to in this one.
pub const API_TESTED: ApiVersion = ApiVersion {
    major: 1,
    minor: 51,
};

/// A version of Docker Compose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComposeVersion {
    /// 2 in `2.40.3`.
    pub major: u32,
    /// 40 in `2.40.3`.
    pub minor: u32,
    /// 3 in `2.40.3`.
    pub patch: u32,
}

impl ComposeVersion {
    /// Checks that cutover works with this version.
    ///
    /// # Errors
    /// A version older than [`MINIMUM`].
    pub fn supported(self) -> Result<Self, UnsupportedVersion> {
        if self < MINIMUM {
            Err(UnsupportedVersion::Compose(self))
        } else {
            Ok(self)
        }
    }
}

impl FromStr for ComposeVersion {
    type Err = UnknownVersion;

    /// Reads the output of `docker compose version --short`, with or without `v` and final newline.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownVersion::new("Compose", text);
        let plain = text.trim();
        let plain = plain.strip_prefix('v').unwrap_or(plain);
        let numbers_len = plain
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(plain.len());
        let (numbers, suffix) = plain.split_at(numbers_len);
        if !(suffix.is_empty() || suffix.starts_with(['-', '+', '~'])) {
            return Err(unknown());
        }
        match numbers_of(numbers).ok_or_else(unknown)?[..] {
            [major, minor, patch] => Ok(Self {
                major,
                minor,
                patch,
            }),
            [major, minor] => Ok(Self {
                major,
                minor,
                patch: 0,
            }),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for ComposeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A version of Docker Engine's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// 1 in `1.51`.
    pub major: u32,
    /// 51 in `1.51`.
    pub minor: u32,
}

impl ApiVersion {
    /// The version to speak with an Engine whose oldest and newest versions are given.
    ///
    /// # Errors
    /// An Engine that is too old, or so new that it no longer speaks any version tested.
    pub fn negotiated(oldest: Self, newest: Self) -> Result<Self, UnsupportedVersion> {
        if newest < API_MINIMUM {
            Err(UnsupportedVersion::EngineTooOld(newest))
        } else if oldest > API_TESTED {
            Err(UnsupportedVersion::EngineTooNew(oldest))
        } else {
            Ok(newest.min(API_TESTED))
        }
    }
}

impl FromStr for ApiVersion {
    type Err = UnknownVersion;

    /// Reads `1.51`, as in the fields `ApiVersion` and `MinAPIVersion`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownVersion::new("Docker Engine's API", text);
        match numbers_of(text).ok_or_else(unknown)?[..] {
            [major, minor] => Ok(Self { major, minor }),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A version that cutover does not work with, with what to install.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedVersion {
    /// Compose is too old.
    #[error(
        "Docker Compose {0} is too old: install 2.20 or newer, as the package docker-compose-plugin or the standalone docker-compose"
    )]
    Compose(ComposeVersion),
    /// Docker Engine is too old.
    #[error("Docker Engine's API {0} is too old: install Docker Engine 23 or newer (API 1.42)")]
    EngineTooOld(ApiVersion),
    /// Docker Engine no longer speaks a version that cutover knows.
    #[error(
        "Docker Engine speaks no API older than {0}, and cutover none newer than 1.51: install a newer cutover"
    )]
    EngineTooNew(ApiVersion),
}

/// A text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot tell the version of {what} from `{text}`: expected numbers such as 2.40.3 or 1.51")]
pub struct UnknownVersion {
    what: &'static str,
    text: String,
}

impl UnknownVersion {
    fn new(what: &'static str, text: &str) -> Self {
        // Whatever stands there in place of Compose may print anything.
        let text = text
            .trim()
            .chars()
            .filter(|c| !c.is_control())
            .take(40)
            .collect();
        Self { what, text }
    }
}

/// The numbers between the dots; nothing but digits counts as one.
fn numbers_of(text: &str) -> Option<Vec<u32>> {
    text.split('.')
        .map(|number| {
            let digits = number.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| number.parse().ok()).flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compose(text: &str) -> ComposeVersion {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn api(text: &str) -> ApiVersion {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[track_caller]
    fn check(text: &str, read: (u32, u32, u32), supported: &str) {
        let version = compose(text);
        assert_eq!(
            (version.major, version.minor, version.patch),
            read,
            "{text}"
        );
        assert_eq!(
            version.supported().is_ok(),
            supported == "supported",
            "{text}"
        );
    }

    #[test]
    fn versions_of_every_packager_are_read_and_compared_by_number() {
        check("2.40.3\n", (2, 40, 3), "supported");
        check("v2.26.1-4+b2", (2, 26, 1), "supported");
        check("5.0.1", (5, 0, 1), "supported");
        check("2.40.3+ds1-1", (2, 40, 3), "supported");
        check("2.26.1~ds1", (2, 26, 1), "supported");
        check("2.20.0", (2, 20, 0), "supported");
        check("2.20", (2, 20, 0), "supported");
        check("2.20.0-rc.1", (2, 20, 0), "supported");
        check("2.100.0", (2, 100, 0), "supported");
        check("10.0.0-desktop.1", (10, 0, 0), "supported");
        check("2.19.1", (2, 19, 1), "too old");
        check("2.3.4", (2, 3, 4), "too old");
        check("1.29.2", (1, 29, 2), "too old");
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in [
            "",
            "dev",
            "v",
            "2",
            "2.",
            ".2",
            "2..3",
            "2.x",
            "2.40.3.1",
            "2.40.3rc",
            "+2.40.3",
            "2.+4",
            "-2.3",
            "99999999999.1",
            "Docker Compose version v2.40.3",
        ] {
            assert!(text.parse::<ComposeVersion>().is_err(), "{text:?}");
        }
        for text in ["", "1", "1.51.0", "v1.51", "1.x", "1.51 ", "1.-1"] {
            assert!(text.parse::<ApiVersion>().is_err(), "{text:?}");
        }
    }

    #[track_caller]
    fn check_negotiated(oldest: &str, newest: &str, spoken: Result<&str, &str>) {
        let answer = ApiVersion::negotiated(api(oldest), api(newest));
        match spoken {
            Ok(version) => assert_eq!(answer, Ok(api(version)), "{oldest} to {newest}"),
            Err(text) => {
                let error = answer.expect_err(newest).to_string();
                assert!(error.contains(text), "{error}");
            }
        }
    }

    #[test]
    fn the_newest_version_that_both_know_is_spoken() {
        check_negotiated("1.24", "1.51", Ok("1.51"));
        check_negotiated("1.24", "1.42", Ok("1.42"));
        check_negotiated("1.44", "1.60", Ok("1.51"));
        check_negotiated("1.51", "2.0", Ok("1.51"));
        check_negotiated("1.12", "1.41", Err("install Docker Engine 23 or newer"));
        check_negotiated("1.12", "1.9", Err("API 1.9 is too old"));
        check_negotiated("1.52", "1.60", Err("install a newer cutover"));
    }

    #[test]
    fn refusals_say_what_to_install() {
        let old = compose("1.29.2")
            .supported()
            .expect_err("too old")
            .to_string();
        assert!(
            old.contains("1.29.2") && old.contains("2.20 or newer"),
            "{old}"
        );
        let odd = "sh: 1: docker\u{7}: not found"
            .parse::<ComposeVersion>()
            .expect_err("no version");
        assert!(
            odd.to_string().contains("`sh: 1: docker: not found`"),
            "{odd}"
        );
    }

    proptest! {
        #[test]
        fn versions_survive_printing(major in 0_u32..100, minor in 0_u32..1000, patch: u32) {
            let version = ComposeVersion { major, minor, patch };
            prop_assert_eq!(version.to_string().parse(), Ok(version));
            let api = ApiVersion { major, minor };
            prop_assert_eq!(api.to_string().parse(), Ok(api));
        }
    }
}
