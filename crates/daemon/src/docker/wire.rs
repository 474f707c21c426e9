//! One HTTP exchange with Docker over its unix socket.
//!
//! Every exchange has a connection of its own, so that none can be spoiled by the one before. Two things
//! are repaired on the way that bollard 0.21.1 leaves wrong, and a test below holds both: the path
//! carries the negotiated API version (bollard sends none, so that Docker would answer in its newest
//! shape), and `X-Registry-Auth` is written in the URL-safe alphabet that Docker reads (otherwise Docker
//! ignores the credentials silently and pulls anonymously).

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::UnixStream;

use super::error::DockerError;
use super::version::{ApiVersion, DockerVersion, VersionAnswer};

/// The longest answer that is read into memory when the answer is an error or the version.
const SMALL_ANSWER_LEN_MAX: usize = 64 * 1024;

/// The longest answer that is read as JSON. The description of a container with hundreds of variables, labels
/// and mounts takes a few hundred kilobytes.
const JSON_ANSWER_LEN_MAX: usize = 8 * 1024 * 1024;

const REGISTRY_AUTH: &str = "x-registry-auth";
const API_VERSION: &str = "api-version";

/// The socket, and what was agreed with the Docker behind it.
#[derive(Debug)]
pub(super) struct Wire {
    socket: PathBuf,
    agreed: Mutex<Option<Agreed>>,
}

/// Holds as long as Docker names the same API version in its answers.
#[derive(Debug, Clone, Copy)]
struct Agreed {
    /// What Docker says it speaks.
    api: ApiVersion,
    /// What is sent.
    negotiated: ApiVersion,
}

impl Wire {
    pub(super) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            agreed: Mutex::new(None),
        }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks Docker for its version and agrees on the one to speak.
    pub(super) async fn version(&self) -> Result<DockerVersion, DockerError> {
        let response = self.exchange(get("/version")).await?;
        let response = refused(response).await?;
        let text = collect(response, SMALL_ANSWER_LEN_MAX).await?;
        let answer: VersionAnswer = serde_json::from_slice(&text).map_err(|_| {
            DockerError::unsupported(
                "what listens on docker's socket does not answer like a Docker Engine",
            )
        })?;
        let version = answer.negotiated()?;
        self.agree(Some(Agreed {
            api: version.api,
            negotiated: version.negotiated,
        }));
        Ok(version)
    }

    /// Sends `request`, whose path names no API version, and returns the answer, whatever its status.
    ///
    /// # Errors
    /// Only what kept Docker from answering at all.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, DockerError> {
        let agreed = match self.agreed() {
            Some(agreed) => agreed,
            None => self.agree_anew().await?,
        };
        let response = self.exchange(repaired(request.clone(), agreed)?).await?;
        if !self.is_outdated(agreed, response.headers()) {
            return Ok(response);
        }
        // Another Docker answers than the one that was asked for its version. If it refused the version
        // before it did anything, the request is sent once more.
        self.agree(None);
        if response.status() != StatusCode::BAD_REQUEST {
            return Ok(response);
        }
        let agreed = self.agree_anew().await?;
        self.exchange(repaired(request, agreed)?).await
    }

    /// `GET path`: the answer if Docker is willing.
    ///
    /// # Errors
    /// Also when Docker answers with an error.
    pub(super) async fn open(&self, path: &str) -> Result<Response<Incoming>, DockerError> {
        refused(self.send(get(path)).await?).await
    }

    /// `GET path`: the answer as Docker wrote it, with every field that this client does not know.
    ///
    /// # Errors
    /// Also when Docker answers with an error, or with something else than JSON.
    pub(super) async fn get_json(&self, path: &str) -> Result<Value, DockerError> {
        json(self.open(path).await?).await
    }

    /// `POST path` with `body`: the answer, [`Value::Null`] if it is empty.
    ///
    /// # Errors
    /// As [`Self::get_json`].
    pub(super) async fn post_json(&self, path: &str, body: &Value) -> Result<Value, DockerError> {
        json(self.post(path, body).await?).await
    }

    /// `POST path` with `body`: the answer if Docker is willing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) async fn post(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<Response<Incoming>, DockerError> {
        let mut request = get(path);
        *request.method_mut() = Method::POST;
        *request.body_mut() = Full::from(body.to_string());
        request.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        refused(self.send(request).await?).await
    }

    async fn agree_anew(&self) -> Result<Agreed, DockerError> {
        let version = self.version().await?;
        Ok(Agreed {
            api: version.api,
            negotiated: version.negotiated,
        })
    }

    fn agreed(&self) -> Option<Agreed> {
        *self.agreed.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn agree(&self, agreed: Option<Agreed>) {
        *self.agreed.lock().unwrap_or_else(|e| e.into_inner()) = agreed;
    }

    /// Whether the answer comes from a Docker with another API version than the one agreed with.
    fn is_outdated(&self, agreed: Agreed, headers: &HeaderMap) -> bool {
        headers
            .get(API_VERSION)
            .and_then(|value| value.to_str().ok())
            .and_then(ApiVersion::parse)
            .is_some_and(|api| api != agreed.api)
    }

    /// A connection for several exchanges: one Docker process answers all of them, or none.
    pub(super) async fn connection(&self) -> Result<Connection, DockerError> {
        let agreed = match self.agreed() {
            Some(agreed) => agreed,
            None => self.agree_anew().await?,
        };
        let sender = self.connect().await?;
        Ok(Connection { sender, agreed })
    }

    /// One request, one connection, one answer.
    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, DockerError> {
        let mut sender = self.connect().await?;
        sender
            .send_request(request)
            .await
            .map_err(DockerError::unreachable)
    }

    async fn connect(&self) -> Result<http1::SendRequest<Full<Bytes>>, DockerError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| {
            DockerError::unreachable(format!("{}: {error}", self.socket.display()))
        })?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(DockerError::unreachable)?;
        // Ends by itself as soon as the last answer has been read or its reader has gone away.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// A connection that several requests go over, one after the other.
#[derive(Debug)]
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    agreed: Agreed,
}

impl Connection {
    /// The body of the answer to `GET path`.
    ///
    /// # Errors
    /// Also when Docker answers with an error, or with more than a description of one thing.
    pub(super) async fn get(&mut self, path: &str) -> Result<Bytes, DockerError> {
        self.ask(get(path)).await
    }

    /// `DELETE path`.
    ///
    /// # Errors
    /// Also when Docker answers with an error.
    pub(super) async fn delete(&mut self, path: &str) -> Result<(), DockerError> {
        let mut request = get(path);
        *request.method_mut() = Method::DELETE;
        self.ask(request).await.map(drop)
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Bytes, DockerError> {
        let request = repaired(request, self.agreed)?;
        self.sender
            .ready()
            .await
            .map_err(DockerError::unreachable)?;
        let answer = self.sender.send_request(request).await;
        let answer = refused(answer.map_err(DockerError::unreachable)?).await?;
        Limited::new(answer.into_body(), JSON_ANSWER_LEN_MAX)
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .map_err(DockerError::unreachable)
    }
}

fn get(path: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = path.parse().unwrap_or_default();
    request
        .headers_mut()
        .insert(header::HOST, HeaderValue::from_static("docker"));
    request
}

/// The request with the version in its path and the credentials in the alphabet that Docker reads.
fn repaired(
    mut request: Request<Full<Bytes>>,
    agreed: Agreed,
) -> Result<Request<Full<Bytes>>, DockerError> {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let path = format!("/v{}{path}", agreed.negotiated);
    *request.uri_mut() = path
        .parse()
        .map_err(|_| DockerError::unsupported(format!("`{path}` cannot be asked for")))?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("docker"));
    if let Some(value) = headers.get_mut(REGISTRY_AUTH) {
        let safe: Vec<u8> = value
            .as_bytes()
            .iter()
            .map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        let mut safe = HeaderValue::from_bytes(&safe)
            .map_err(|_| DockerError::unsupported("the registry credentials fit no header"))?;
        safe.set_sensitive(true);
        *value = safe;
    }
    Ok(request)
}

/// The answer itself if it is a good one, else the error that it is.
async fn refused(response: Response<Incoming>) -> Result<Response<Incoming>, DockerError> {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = collect(response, SMALL_ANSWER_LEN_MAX).await?;
    let message = serde_json::from_slice::<Message>(&text).map_or_else(
        |_| String::from_utf8_lossy(&text).into_owned(),
        |m| m.message,
    );
    Err(DockerError::from_status(status.as_u16(), &message))
}

async fn json(response: Response<Incoming>) -> Result<Value, DockerError> {
    let text = collect(response, JSON_ANSWER_LEN_MAX).await?;
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&text)
        .map_err(|_| DockerError::unsupported("docker's answer is not valid JSON"))
}

async fn collect(response: Response<Incoming>, len_max: usize) -> Result<Bytes, DockerError> {
    Limited::new(response.into_body(), len_max)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(DockerError::unreachable)
}

/// `text` as it may stand in a path or a query.
pub(super) fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
