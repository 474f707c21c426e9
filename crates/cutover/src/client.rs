//! The conversation with the daemon.
//!
//! ```text
//! endpoint     where it is: a unix socket, or a URL
//! credentials  what proves who asks
//! transport    why no answer came
//! reply        what an answer means, and whether cutover gave it at all
//! submission   a request for a deployment: the same bytes each time it is sent
//! submit       sending it until it is accepted, without ever asking twice
//! stream       server-sent events, as bytes
//! follow       watching a deployment to its end, over lost connections
//! ```
//!
//! Nothing here prints. Names are looked up by a resolver of our own and not by the C library, because
//! the release binary is linked statically.

use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) mod endpoint;
pub(crate) mod credentials;
pub(crate) mod failure;
mod transport;
mod reply;
pub(crate) mod submission;
pub(crate) mod submit;
mod stream;
pub(crate) mod follow;
pub(crate) mod pick;

use crate::client::credentials::Secret;
use crate::client::endpoint::Endpoint;
use crate::client::failure::Failure;
use crate::client::reply::Reply;
pub(crate) use crate::client::reply::{Answer, Origin};

/// A connection that takes longer than this is given up; a server in another continent needs less than one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Every request is answered at once or, for `respond-async`, as soon as it is recorded.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer that is read; the view of a deployment is bounded far below.
const BODY_LEN_MAX: usize = 16 << 20;

/// A client of one daemon.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    token: Option<Secret>,
}

impl Client {
    /// A client that sends `token`, if there is one, with every request.
    ///
    /// # Errors
    /// [`Failure::Usage`] when this machine has no trusted certificates and needs them.
    pub(crate) fn open(endpoint: Endpoint, token: Option<Secret>) -> Result<Self, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, application/problem+json"),
        );
        let builder = reqwest::Client::builder()
            .user_agent(concat!("cutover/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            // A signed body or a token must not travel to wherever an answer points.
            .redirect(redirect::Policy::none());
        let builder = match &endpoint {
            Endpoint::Socket(path) => builder
                .unix_socket(path.as_path())
                .tls_certs_only(std::iter::empty()),
            Endpoint::Network(url) if url.scheme() == "http" => {
                builder.no_proxy().tls_certs_only(std::iter::empty())
            }
            Endpoint::Network(_) => builder.https_only(true),
        };
        match builder.build() {
            Ok(http) => Ok(Self {
                http,
                endpoint,
                token,
            }),
            Err(error) => Err(transport::explain(&error, &endpoint)),
        }
    }

    /// The same client with another token, for instance the one that reads a single deployment.
    pub(crate) fn with_token(&self, token: Option<Secret>) -> Self {
        Self {
            token: token.or_else(|| self.token.clone()),
            ..self.clone()
        }
    }

    /// Where requests go.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// The daemon's refusal, or why there is no answer.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<Answer<T>, Failure> {
        let mut url = self.endpoint.resource(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.transmit(self.request_to(Method::GET, url))
            .await?
            .read()
    }

    /// Changes a resource; the answer may be empty.
    ///
    /// # Errors
    /// The daemon's refusal, or why there is no answer.
    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        segments: &[&str],
        body: Option<&impl Serialize>,
    ) -> Result<Answer<Option<T>>, Failure> {
        let request = self.request(method, segments);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.transmit(request).await?.read_if_any()
    }

    /// A request to a resource, with the token.
    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        self.request_to(method, self.endpoint.resource(segments))
    }

    /// A request to a URL of the endpoint, with the token.
    fn request_to(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }

    /// Sends a request and reads its whole answer, whatever it is.
    async fn transmit(&self, request: RequestBuilder) -> Result<Reply, Failure> {
        let response = request
            .timeout(ANSWER_TIMEOUT)
            .send()
            .await
            .map_err(|error| transport::explain(&error, &self.endpoint))?;
        self.receive(response).await
    }

    /// Reads an answer to its end, at most [`BODY_LEN_MAX`] of it. For how long is up to the caller.
    async fn receive(&self, mut response: Response) -> Result<Reply, Failure> {
        let explain = |error: reqwest::Error| transport::explain(&error, &self.endpoint);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(explain)? {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_LEN_MAX {
                return Err(Failure::Foreign {
                    what: format!("{} answers more than {BODY_LEN_MAX} bytes", self.endpoint),
                    hint: "cutover never does; see what listens there".to_owned(),
                });
            }
        }
        Ok(Reply::new(response.status(), response.headers(), body))
    }
}
