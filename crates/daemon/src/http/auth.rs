//! Who is asking: a signature over a body, a token, or somebody on this machine.
//!
//! There is one answer to everybody who is not known. Whether a signature is missing, malformed or
//! wrong goes one way through the code, compares with every key, and takes the same time.

use aws_lc_rs::{constant_time, digest};
use axum::extract::FromRequestParts;
use cutover_api::deploy::SIGNATURE_HEADER;
use cutover_api::signature::Signature;
use cutover_core::names::DeploymentId;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Version};

use super::Front;
use super::error::{ApiError, RequestCode};
use super::listen::Peer;
use super::seats::Prover;
use super::watch::WatchTokens;
use crate::settings::{HmacKey, OperatorToken};

/// What `POST /deploy` asks of the unknown.
pub(super) const SIGNATURE_CHALLENGE: &str = "X-Hub-Signature-256";

/// What every other resource asks of them.
const TOKEN_CHALLENGE: &str = "Bearer";

/// Headers that a proxy adds. On the operator's socket they mean that somebody has put strangers in an
/// operator's place.
const PROXY_HEADERS: [&str; 9] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "fastly-client-ip",
    "x-amzn-trace-id",
    "x-envoy-external-address",
];

/// How the names of others begin that proxies add: `X-Forwarded-Host`, `CF-Connecting-IP`.
const PROXY_PREFIXES: [&str; 3] = ["x-forwarded-", "cf-", "x-original-"];

/// The secrets that requests are checked against.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) keys: Vec<HmacKey>,
    pub(super) operator_tokens: Vec<OperatorToken>,
    pub(super) watch: WatchTokens,
}

/// Who is asking for a `/v1` resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// Somebody with an operator's rights; the name is what the journal records.
    Operator { actor: String },
    /// Somebody who holds the watch token of this deployment.
    Watcher(DeploymentId),
}

/// An operator, for resources that are for nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operator {
    /// What the journal records.
    pub(super) actor: String,
}

impl Access {
    /// The key that signed `body`.
    pub(super) fn signer(&self, headers: &HeaderMap, body: &[u8]) -> Result<&HmacKey, ApiError> {
        let mut values = headers.get_all(SIGNATURE_HEADER).iter();
        let parsed = match (values.next(), values.next()) {
            (Some(only), None) => Signature::parse(only.as_bytes()).ok(),
            _ => None,
        };
        let well_formed = parsed.is_some();
        let signature = parsed.unwrap_or_else(nobodys_signature);
        let mut signer = None;
        for key in &self.keys {
            // No early exit: which key it was, or that it was none, must not show in the time.
            if signature.verifies(key.secret.expose(), body) && signer.is_none() {
                signer = Some(key);
            }
        }
        signer
            .filter(|_| well_formed)
            .ok_or_else(|| ApiError::unauthorized(SIGNATURE_CHALLENGE))
    }

    /// Whose token this is.
    fn operator(&self, token: &[u8]) -> Option<&OperatorToken> {
        let token = digest::digest(&digest::SHA256, token);
        let mut operator = None;
        for known in &self.operator_tokens {
            let known_digest = digest::digest(&digest::SHA256, known.token.expose());
            let same =
                constant_time::verify_slices_are_equal(token.as_ref(), known_digest.as_ref());
            if same.is_ok() && operator.is_none() {
                operator = Some(known);
            }
        }
        operator
    }

    /// Who asks over the network, by the token in `Authorization`.
    fn bearer(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let unauthorized = || ApiError::unauthorized(TOKEN_CHALLENGE);
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(unauthorized());
        };
        let value = value.to_str().map_err(|_| unauthorized())?;
        let (scheme, token) = value.split_once(' ').ok_or_else(unauthorized)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(unauthorized());
        }
        if let Some(operator) = self.operator(token.as_bytes()) {
            return Ok(Caller::Operator {
                actor: format!("operator:{}", operator.name),
            });
        }
        self.watch
            .reads(token)
            .map(Caller::Watcher)
            .ok_or_else(unauthorized)
    }
}

/// A well-formed signature that stands in for one that is missing or malformed. Its verdict is not
/// used.
fn nobodys_signature() -> Signature {
    let zeros = [b"sha256=".as_slice(), &[b'0'; 64]].concat();
    match Signature::parse(&zeros) {
        Ok(signature) => signature,
        Err(_) => unreachable!("64 zeros are well formed"),
    }
}

/// What the journal records for somebody on the operator's socket.
pub(super) fn local_actor(
    headers: &HeaderMap,
    version: Version,
    uid: Option<u32>,
) -> Result<String, ApiError> {
    let is_proxys = |name: &HeaderName| {
        let name = name.as_str();
        PROXY_HEADERS.contains(&name)
            || PROXY_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    // nginx speaks HTTP/1.0 to what it forwards to, unless it is told otherwise, and adds no header; no client of this
    // socket does.
    if version < Version::HTTP_11 || headers.keys().any(is_proxys) {
        return Err(ApiError::new(
            RequestCode::Forbidden,
            "the request came through a proxy, but this socket gives everybody an operator's rights; nothing was changed",
        )
        .with_hint("let the proxy forward to `server.listen`, never to `server.socket`"));
    }
    Ok(Peer::Local(uid).show())
}

/// The connection's other end. A request without one did not come through our listeners.
pub(super) fn peer(parts: &Parts) -> Result<Peer, ApiError> {
    parts
        .extensions
        .get::<Peer>()
        .copied()
        .ok_or_else(|| ApiError::internal("request without a peer"))
}

/// Marks the connection as one that keeps its seat.
pub(super) fn prove(parts: &Parts) {
    if let Some(prover) = parts.extensions.get::<Prover>() {
        prover.prove();
    }
}

/// Who is asking, or the uniform refusal.
pub(super) fn caller(parts: &Parts, access: &Access) -> Result<Caller, ApiError> {
    let caller = match peer(parts)? {
        Peer::Network(_) => access.bearer(&parts.headers)?,
        Peer::Local(uid) => Caller::Operator {
            actor: local_actor(&parts.headers, parts.version, uid)?,
        },
    };
    // A watch token goes through more hands than a secret, and whoever follows a deployment with one can
    // come back to where its stream ended.
    if let Caller::Operator { .. } = caller {
        prove(parts);
    }
    Ok(caller)
}

impl FromRequestParts<Front> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, ApiError> {
        caller(parts, front.access())
    }
}

impl FromRequestParts<Front> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, ApiError> {
        match caller(parts, front.access())? {
            Caller::Operator { actor } => Ok(Self { actor }),
            Caller::Watcher(_) => Err(ApiError::new(
                RequestCode::Forbidden,
                "a watch token reads its own deployment and nothing else; nothing was changed",
            )
            .with_hint("use an operator token, or the unix socket on the server")),
        }
    }
}

impl Caller {
    /// Whether the caller may read this deployment. One that is not the caller's looks like one that
    /// does not exist.
    pub(super) fn may_read(&self, id: &DeploymentId) -> Result<(), ApiError> {
        match self {
            Self::Operator { .. } => Ok(()),
            Self::Watcher(own) if own == id => Ok(()),
            Self::Watcher(_) => Err(no_deployment()),
        }
    }
}

/// The refusal of a deployment that does not exist, or that the caller may not know of.
pub(super) fn no_deployment() -> ApiError {
    ApiError::new(RequestCode::NotFound, "there is no such deployment")
        .with_hint("`cutover history` lists the deployments; old ones are deleted after a while")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::seats::Seats;
    use crate::settings::{Freshness, Secret};
    use cutover_api::signature::sign;
    use http::HeaderValue;

    const BODY: &[u8] = b"{}";

    fn access() -> (Access, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a directory");
        let key = |name: &str, secret: &[u8]| HmacKey {
            name: name.to_owned(),
            secret: Secret::new(secret.to_vec()),
            services: std::collections::BTreeSet::new(),
            freshness: Freshness::Required,
        };
        let access = Access {
            keys: vec![key("old", &[1; 32]), key("new", &[2; 32])],
            operator_tokens: vec![OperatorToken {
                name: "alice".into(),
                token: Secret::new(b"let-me-in".to_vec()),
            }],
            watch: WatchTokens::load_or_create(dir.path()).expect("a key"),
        };
        (access, dir)
    }

    fn signer(values: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value).expect("a header value");
            headers.append(SIGNATURE_HEADER, value);
        }
        let (access, _dir) = access();
        match access.signer(&headers, BODY) {
            Ok(key) => Some(key.name.clone()),
            Err(error) => {
                assert_eq!(error.code(), RequestCode::Unauthorized);
                None
            }
        }
    }

    #[test]
    fn exactly_one_signature_by_any_of_the_keys_is_accepted() {
        let (old, new) = (sign(&[1; 32], BODY), sign(&[2; 32], BODY));
        assert_eq!(signer(&[old.as_bytes()]).as_deref(), Some("old"));
        assert_eq!(signer(&[new.as_bytes()]).as_deref(), Some("new"));
        let upper = format!("sha256={}", old[7..].to_uppercase());
        assert_eq!(signer(&[upper.as_bytes()]).as_deref(), Some("old"));
        let joined = format!("{old},{old}");
        let other_body = sign(&[1; 32], b"{ }");
        for wrong in [
            &[][..],
            &[&b""[..]],
            &[old.as_bytes(), old.as_bytes()],
            &[joined.as_bytes()],
            &[other_body.as_bytes()],
            &[&old.as_bytes()[..70]],
            &[&old.as_bytes()[7..]],
            &[b"sha1=0000000000000000000000000000000000000000"],
        ] {
            assert_eq!(signer(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_zero_signature_is_not_taken_for_the_stand_in() {
        let zeros = format!("sha256={}", "0".repeat(64));
        assert_eq!(signer(&[zeros.as_bytes()]), None);
    }

    #[test]
    fn tokens_are_told_apart() {
        let (access, _dir) = access();
        let id = DeploymentId::new("01938f3e-7c1a-7abc-8def-0123456789ab").expect("an id");
        let watch = format!("Bearer {}", access.watch.token(&id));
        let ask = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(
                    AUTHORIZATION,
                    HeaderValue::from_str(value).expect("a value"),
                );
            }
            access.bearer(&headers).map_err(|error| error.code())
        };
        let alice = Caller::Operator {
            actor: "operator:alice".into(),
        };
        assert_eq!(ask(&["Bearer let-me-in"]), Ok(alice.clone()));
        assert_eq!(ask(&["bearer let-me-in"]), Ok(alice));
        assert_eq!(ask(&[&watch]), Ok(Caller::Watcher(id)));
        for wrong in [
            &[][..],
            &["let-me-in"],
            &["Basic let-me-in"],
            &["Bearer  let-me-in"],
            &["Bearer let-me-i"],
            &["Bearer "],
            &["Bearer let-me-in", "Bearer let-me-in"],
        ] {
            assert_eq!(ask(wrong), Err(RequestCode::Unauthorized), "{wrong:?}");
        }
    }

    #[test]
    fn an_operator_keeps_the_seat_and_a_watcher_does_not() {
        let (access, _dir) = access();
        let id = DeploymentId::new("01938f3e-7c1a-7abc-8def-0123456789ab").expect("an id");
        for (token, kept) in [
            ("let-me-in".to_owned(), true),
            (access.watch.token(&id), false),
        ] {
            let seats = Seats::new(1, crate::metrics::Metrics::new());
            let seat = seats.take(None).expect("a free seat");
            let request = http::Request::builder()
                .header(AUTHORIZATION, format!("Bearer {token}"))
                .extension(Peer::Network(([192, 0, 2, 1], 1).into()))
                .extension(seat.prover());
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            caller(&parts, &access).expect("a known caller");
            assert_eq!(seats.take(None).is_none(), kept, "{token}");
        }
    }

    #[test]
    fn nobody_reaches_the_operators_socket_through_a_proxy() {
        let none = HeaderMap::new();
        let plain = local_actor(&none, Version::HTTP_11, Some(7));
        assert_eq!(plain.expect("fine"), "local:7");
        let refused = |headers: &HeaderMap, version| {
            let error = local_actor(headers, version, Some(7)).expect_err("a proxy");
            assert_eq!(error.code(), RequestCode::Forbidden, "{headers:?}");
        };
        refused(&none, Version::HTTP_10);
        for name in [
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "forwarded",
            "via",
            "x-real-ip",
            "cf-connecting-ip",
            "cf-ray",
            "true-client-ip",
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static("1.2.3.4"));
            refused(&headers, Version::HTTP_11);
        }
    }
}
