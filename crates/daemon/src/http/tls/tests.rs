//! When a pair from the files is taken, and when the one in use stays.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

struct Files {
    _dir: tempfile::TempDir,
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Self {
            cert: dir.path().join("tls.crt"),
            key: dir.path().join("tls.key"),
            _dir: dir,
        };
        files.renew();
        files
    }

    /// Puts a new pair in place and returns its certificate.
    fn renew(&self) -> Vec<u8> {
        self.renew_until(4000)
    }

    /// Puts a new pair in place that ends with the year before this one.
    fn renew_until(&self, year: i32) -> Vec<u8> {
        let names = ["localhost".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).expect("a name");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("a certificate");
        self.put(&self.cert, &cert.pem());
        self.put(&self.key, &key.serialize_pem());
        cert.der().to_vec()
    }

    /// As renewal tools do: written beside and renamed, so that the inode changes.
    fn put(&self, path: &Path, text: &str) {
        let fresh = path.with_extension("new");
        fs::write(&fresh, text).expect("writes");
        fs::rename(&fresh, path).expect("renames");
    }

    fn load(&self) -> Result<Identity, TlsError> {
        Identity::load(&self.cert, &self.key)
    }
}

fn served(identity: &Identity) -> Vec<u8> {
    identity.0.current.0.load().cert[0].to_vec()
}

#[test]
fn a_new_pair_is_served_without_a_restart() {
    let files = Files::new();
    let first = files.renew();
    let identity = files.load().expect("a pair");
    assert_eq!(served(&identity), first);
    assert!(matches!(identity.reload(), Reload::Same));
    let second = files.renew();
    assert!(matches!(identity.reload(), Reload::Replaced));
    assert_eq!(served(&identity), second);
}

#[test]
fn a_bad_new_pair_leaves_the_old_one_and_is_tried_again_when_it_changes() {
    let files = Files::new();
    let first = files.renew();
    let identity = files.load().expect("a pair");
    files.put(&files.cert, "garbage");
    assert!(matches!(
        identity.reload(),
        Reload::Kept(TlsError::NoCertificate { .. })
    ));
    assert!(matches!(identity.reload(), Reload::Same), "said once");
    assert_eq!(served(&identity), first);
    fs::remove_file(&files.cert).expect("removes");
    assert!(matches!(
        identity.reload(),
        Reload::Kept(TlsError::Unreadable { .. })
    ));
    assert_eq!(served(&identity), first);
    let second = files.renew();
    assert!(matches!(identity.reload(), Reload::Replaced));
    assert_eq!(served(&identity), second);
}

#[test]
fn a_pair_that_has_expired_does_not_replace_one_that_has_not() {
    let files = Files::new();
    let first = files.renew();
    let identity = files.load().expect("a pair");
    files.renew_until(2020);
    let Reload::Kept(error) = identity.reload() else {
        panic!("an expired pair was taken");
    };
    let words = error.to_string();
    assert!(
        words.ends_with("tls.crt` has expired (2020-01-01T00:00:00Z)"),
        "{words}"
    );
    assert_eq!(served(&identity), first);
    let second = files.renew();
    assert!(matches!(identity.reload(), Reload::Replaced));
    assert_eq!(served(&identity), second);
}

#[test]
fn of_two_pairs_that_have_expired_the_one_in_the_files_is_served() {
    let files = Files::new();
    files.renew_until(2020);
    let identity = files.load().expect("an expired pair is better than none");
    let second = files.renew_until(2021);
    assert!(matches!(identity.reload(), Reload::Replaced));
    assert_eq!(served(&identity), second);
}

#[test]
fn another_mode_is_a_change_like_any_other() {
    let files = Files::new();
    let identity = files.load().expect("a pair");
    let mode = |mode| {
        fs::set_permissions(&files.key, fs::Permissions::from_mode(mode)).expect("allowed");
    };
    // The file system's clock has ticks, so that it may take some tries until a change shows.
    let until = Instant::now() + Duration::from_secs(30);
    while matches!(identity.reload(), Reload::Same) {
        assert!(Instant::now() < until, "the change does not show");
        mode(0o640);
        mode(0o600);
    }
}

#[test]
fn files_are_read_again_when_what_was_tried_is_forgotten() {
    let files = Files::new();
    let identity = files.load().expect("a pair");
    assert!(matches!(identity.reload(), Reload::Same));
    identity.forget_tried();
    assert!(matches!(identity.reload(), Reload::Replaced));
    fs::remove_file(&files.cert).expect("removes");
    for _ in 0..2 {
        identity.forget_tried();
        assert!(matches!(identity.reload(), Reload::Kept(_)));
        assert!(matches!(identity.reload(), Reload::Same), "said once");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused_by_name() {
    let files = Files::new();
    let other = Files::new();
    fs::copy(&other.key, &files.key).expect("copies");
    let error = files.load().expect_err("they do not belong together");
    assert!(matches!(error, TlsError::Mismatch { .. }), "{error:?}");
    assert!(error.to_string().contains("tls.key"), "{error}");
}

#[test]
fn files_that_hold_nothing_of_use_are_named() {
    let files = Files::new();
    for (path, text, expected) in [
        (&files.key, "", "it holds nothing of the kind"),
        (&files.cert, "", "holds no certificate"),
        (
            &files.cert,
            "-----BEGIN CERTIFICATE-----\nAAAA\n",
            "the line that ends a section is missing",
        ),
        (
            &files.cert,
            "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n",
            "what stands between its lines is not base64",
        ),
        (
            &files.cert,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "cannot be used: invalid peer certificate: bad encoding",
        ),
    ] {
        fs::write(path, text).expect("writes");
        let error = files.load().expect_err("unusable").to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
        files.renew();
    }
}
