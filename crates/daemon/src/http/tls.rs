//! The server's certificate, read again when its files change.
//!
//! Files are polled instead of watched: a certificate that is mounted or renewed by swapping a symlink
//! raises no event on the path that we know. A new pair that cannot be used, or has expired while the
//! old one has not, leaves the old one in place, says so in the log and in the metrics, and is tried
//! again when it changes.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use cutover_core::plain::plain;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::metrics::Metrics;

/// How often the files are looked at. Renewal tools replace them weeks before the old ones expire.
pub const POLL_EVERY: Duration = Duration::from_secs(5);

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or is not PEM.
    #[error("cannot read `{}` as PEM: {}", path.display(), source_words(source))]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The certificate file holds no certificate.
    #[error("`{}` holds no certificate", path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// The key does not belong to the certificate.
    #[error(
        "the key in `{}` does not belong to the certificate in `{}`; the first certificate in the file must be the server's own",
        key.display(),
        cert.display()
    )]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The pair is of a kind that cannot be used.
    #[error("the certificate in `{}` cannot be used: {}", cert.display(), plain(&source.to_string()))]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The new pair has expired and the one in use has not.
    #[error("the certificate in `{}` has expired ({not_after})", cert.display())]
    Expired {
        /// The certificate's file.
        cert: PathBuf,
        /// Its last moment.
        not_after: jiff::Timestamp,
    },
}

fn source_words(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "it holds nothing of the kind that is expected".to_owned(),
        pem::Error::Io(error) => error.to_string(),
        pem::Error::Base64Decode(_) => "what stands between its lines is not base64".to_owned(),
        pem::Error::MissingSectionEnd { .. } => {
            "the line that ends a section is missing".to_owned()
        }
        pem::Error::IllegalSectionStart { .. } => {
            "a line that begins a section is not well formed".to_owned()
        }
        other => other.to_string(),
    }
}

/// The server's certificate and key; cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    cert: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
    /// What was tried last, whether it could be used or not.
    tried: Mutex<Seen>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("cert", &self.cert)
            .finish_non_exhaustive()
    }
}

/// What changes when a file is written, replaced or pointed elsewhere, or gets another owner or mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What a look at the files has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Nobody has looked, or it does not count any more.
    Nothing,
    /// One of them is missing, which is a change like any other.
    Incomplete,
    /// Both are there.
    Pair([Stamp; 2]),
}

/// What became of a look at the files.
#[derive(Debug)]
pub enum Reload {
    /// They are as they were.
    Same,
    /// New connections get the certificate that is in the files now.
    Replaced,
    /// They changed into something that cannot be used; the old pair stays.
    Kept(TlsError),
}

impl Identity {
    /// Reads the pair for the first time.
    ///
    /// # Errors
    /// Anything that keeps it from being used; nothing is served then.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tried = look_at(cert, key);
        let pair = read(cert, key, &provider)?;
        let current = Arc::new(Current(ArcSwap::from_pointee(pair)));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|source| TlsError::Unusable {
                cert: cert.to_owned(),
                source,
            })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(Inner {
            cert: cert.to_owned(),
            key: key.to_owned(),
            current,
            config: Arc::new(config),
            tried: Mutex::new(tried),
        })))
    }

    /// Has the next [`Self::reload`] read the files even if they look as they did: whoever sends SIGHUP may
    /// have mended what does not show in them, such as the directory that they are in.
    pub fn forget_tried(&self) {
        *self.tried() = Seen::Nothing;
    }

    fn tried(&self) -> MutexGuard<'_, Seen> {
        self.0.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the files and takes a new pair; on SIGHUP and every [`POLL_EVERY`].
    #[must_use]
    pub fn reload(&self) -> Reload {
        let inner = &self.0;
        let now = look_at(&inner.cert, &inner.key);
        let mut tried = self.tried();
        if now == *tried {
            return Reload::Same;
        }
        let provider = inner.config.crypto_provider();
        let pair = read(&inner.cert, &inner.key, provider);
        let reload = match pair.and_then(|pair| self.unless_worse(pair)) {
            Ok(pair) => {
                inner.current.0.store(Arc::new(pair));
                Reload::Replaced
            }
            Err(error) => Reload::Kept(error),
        };
        *tried = now;
        reload
    }

    /// The pair, unless it has expired and the one in use has not: an old backup that was put in place by
    /// mistake would end all connections. If both have, the files decide.
    fn unless_worse(&self, pair: CertifiedKey) -> Result<CertifiedKey, TlsError> {
        let now = UnixTime::now();
        match expired(&pair, now) {
            Some(not_after) if expired(&self.0.current.0.load(), now).is_none() => {
                Err(TlsError::Expired {
                    cert: self.0.cert.clone(),
                    not_after,
                })
            }
            _ => Ok(pair),
        }
    }

    /// [`Self::reload`], told to the log and the metrics.
    pub fn reload_and_report(&self, metrics: &Metrics) {
        let cert = self.0.cert.display();
        match self.reload() {
            Reload::Same => {}
            Reload::Replaced => {
                metrics.certificate_usable(true);
                tracing::info!(%cert, "certificate read again; new connections get it");
            }
            Reload::Kept(error) => {
                metrics.certificate_usable(false);
                tracing::error!(%error, "new certificate cannot be used; the old one stays in use");
            }
        }
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.config)
    }
}

/// The pair that new connections get.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn read(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| TlsError::Unreadable { path, source }
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .map_err(unreadable(cert))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable(cert))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate {
            path: cert.to_owned(),
        });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|source| match source {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
            cert: cert.to_owned(),
            key: key.to_owned(),
        },
        source => TlsError::Unusable {
            cert: cert.to_owned(),
            source,
        },
    })
}

/// The end of the validity of a pair's certificate, if it is over at `now`; none if it cannot be told, which
/// is no reason to refuse what rustls serves.
fn expired(pair: &CertifiedKey, now: UnixTime) -> Option<jiff::Timestamp> {
    let own = ParsedCertificate::try_from(pair.end_entity_cert().ok()?).ok()?;
    // Who signed it is of no interest here, so that no authority is known; its validity is looked at first.
    let nobody = RootCertStore::empty();
    let judged = verify_server_cert_signed_by_trust_anchor(&own, &nobody, &[], now, &[]);
    let Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
        not_after, ..
    })) = judged
    else {
        return None;
    };
    let seconds = i64::try_from(not_after.as_secs()).ok()?;
    jiff::Timestamp::from_second(seconds).ok()
}

fn look_at(cert: &Path, key: &Path) -> Seen {
    let stamp = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some(Stamp {
            device: found.dev(),
            inode: found.ino(),
            len: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    };
    match (stamp(cert), stamp(key)) {
        (Some(cert), Some(key)) => Seen::Pair([cert, key]),
        _ => Seen::Incomplete,
    }
}

#[cfg(test)]
mod tests;
