//! An HTTP request to the container itself.
//!
//! Healthy is a status in the configured range with a body that ends, within the time and the size that
//! are allowed. A redirect is judged by its status: following it would judge something else.

use std::net::{IpAddr, SocketAddr};

use reqwest::header::{HOST, LOCATION};
use reqwest::{Client, ClientBuilder, Response, Url, redirect};

use super::{ProbeFailure, Seconds, reason};
use crate::settings::{HttpProbe, HttpTls, UrlProbe};
use cutover_core::mask::{CUT, beginning, printable};

/// How much of an unexpected answer is quoted, in characters.
const QUOTE_LEN_MAX: usize = 200;

/// One probe, ready to be sent any number of times. Each goes over a connection of its own, so that a
/// server that accepts no more is noticed.
#[derive(Debug)]
pub struct HttpProber {
    client: Client,
    url: Url,
    host: Option<String>,
    probe: HttpProbe,
}

impl HttpProber {
    /// Prepares a probe of the container at `address`.
    ///
    /// # Errors
    /// When the settings cannot be turned into a request, or no certificate authority is known to verify with.
    pub fn new(address: IpAddr, port: u16, probe: &HttpProbe) -> Result<Self, ProbeFailure> {
        let target = SocketAddr::new(address, port);
        let mut builder = client()
            // Where no certificate is looked at, none of the machine's need be read.
            .tls_danger_accept_invalid_certs(probe.tls != HttpTls::On);
        let scheme = match probe.tls {
            HttpTls::Off => "http",
            HttpTls::On | HttpTls::OnWithoutVerification => "https",
        };
        let mut authority = target.to_string();
        if probe.tls != HttpTls::Off
            && let Some(name) = probe.host.as_deref().and_then(host_name)
        {
            // The name is for the certificate only: the connection goes to the container.
            builder = builder.resolve(name, target);
            authority = format!("{name}:{port}");
        }
        let url = format!("{scheme}://{authority}{}", probe.path);
        let url = url
            .parse()
            .map_err(|error| ProbeFailure::new(format!("`{url}` is no URL: {error}")))?;
        Ok(Self {
            client: built(builder)?,
            url,
            host: probe.host.clone(),
            probe: probe.clone(),
        })
    }

    /// Prepares a probe of an address by which users come in; its certificate is checked.
    ///
    /// # Errors
    /// When the settings cannot be turned into a request, or no certificate authority is known to verify with.
    pub fn of_url(probe: &UrlProbe) -> Result<Self, ProbeFailure> {
        let url: Url = probe
            .url
            .parse()
            .map_err(|error| ProbeFailure::new(format!("`{}` is no URL: {error}", probe.url)))?;
        let is_plain = url.scheme() == "http";
        Ok(Self {
            client: built(client().tls_danger_accept_invalid_certs(is_plain))?,
            url,
            host: None,
            probe: probe.http.clone(),
        })
    }

    /// Sends the probe once.
    ///
    /// # Errors
    /// Why the container is not healthy, in words.
    pub async fn probe(&self) -> Result<(), ProbeFailure> {
        let timeout = self.probe.timeout;
        let failure = match tokio::time::timeout(timeout, self.ask()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(failure)) => failure.why,
            Err(_elapsed) => format!("no complete answer within {}", Seconds(timeout)),
        };
        Err(ProbeFailure::new(format!("{}: {failure}", self.url)))
    }

    async fn ask(&self) -> Result<(), ProbeFailure> {
        let mut request = self.client.get(self.url.clone());
        if let Some(host) = &self.host {
            request = request.header(HOST, host);
        }
        let mut response = request.send().await.map_err(|error| failed(&error))?;
        let body = self.body(&mut response).await?;
        let status = response.status().as_u16();
        if self.probe.status.contains(&status) {
            return Ok(());
        }
        let (first, last) = (self.probe.status.start(), self.probe.status.end());
        let wanted = if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        };
        let mut why = format!("status {status}, not {wanted}");
        if let Some(place) = response.headers().get(LOCATION) {
            let place = String::from_utf8_lossy(place.as_bytes());
            why.push_str(&format!(
                "; redirects to {} are not followed",
                quote(&place)
            ));
        } else if !body.is_empty() {
            why.push_str(&format!("; it says: {}", quote(&body)));
        }
        Err(ProbeFailure::new(why))
    }

    /// Reads the body to its end, which must come before `body_bytes_max`, and returns its beginning.
    async fn body(&self, response: &mut Response) -> Result<String, ProbeFailure> {
        let bytes_max = u64::from(self.probe.body_bytes_max);
        let mut bytes: u64 = 0;
        let mut kept = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
            bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            if bytes > bytes_max {
                return Err(ProbeFailure::new(format!(
                    "the answer is longer than {bytes_max} bytes"
                )));
            }
            // Four bytes for each character that may be quoted.
            let room = (4 * QUOTE_LEN_MAX).saturating_sub(kept.len());
            kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        let mut text = String::from_utf8_lossy(&kept).into_owned();
        if bytes > u64::try_from(kept.len()).unwrap_or(u64::MAX) {
            // Without the first bytes of a character: the mask must know the place of the cut.
            text.truncate(text.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
            text.push(CUT);
        }
        Ok(text)
    }
}

/// What every probe has in common.
fn client() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("cutover/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .http1_only()
}

fn built(builder: ClientBuilder) -> Result<Client, ProbeFailure> {
    builder.build().map_err(|error| {
        ProbeFailure::new(format!("the probe cannot be prepared: {}", reason(&error)))
    })
}

fn failed(error: &reqwest::Error) -> ProbeFailure {
    ProbeFailure::new(reason(error))
}

/// The name in `host`, which may carry a port; none if it is an address, which no certificate is chosen by.
fn host_name(host: &str) -> Option<&str> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.starts_with('[') || name.parse::<IpAddr>().is_ok();
    (!address).then_some(name)
}

/// A text from the container as it may stand in a message.
fn quote(text: &str) -> String {
    let text = text.trim();
    printable(&beginning(text, QUOTE_LEN_MAX).replace(['\r', '\n'], " "))
}

#[cfg(test)]
mod tests;
