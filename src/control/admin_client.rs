//! Asks another process's admin port: what `corelay probe`, `switchover` and `reload` do.
//!
//! One request, one response, all of it within a deadline; a body is bounded.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::admin::DEED;

/// Bytes of a body: 4096 shards in each of some pools need about 2 MiB.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The body of a page of the admin port at `address`.
///
/// # Errors
/// Why it can not be had, in words for one line.
pub(super) fn get(address: SocketAddr, path: &str, within: Duration) -> Result<String, String> {
    let (status, body) = ask(address, Method::GET, path, String::new(), within)?;
    match status {
        StatusCode::OK => Ok(body),
        other => Err(format!("{path} answers {other}")),
    }
}

/// Asks for something to be done; gives what is said of it.
///
/// # Errors
/// Why it is not, in words for one line: the port's own, if it has answered.
pub(super) fn post(
    address: SocketAddr,
    path: &str,
    body: String,
    within: Duration,
) -> Result<String, String> {
    let (status, answer) = ask(address, Method::POST, path, body, within)?;
    match status.is_success() {
        true => Ok(answer),
        false => Err(answer.trim_end().to_owned()),
    }
}

fn ask(
    address: SocketAddr,
    method: Method,
    path: &str,
    body: String,
    within: Duration,
) -> Result<(StatusCode, String), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, address.to_string())
        .header(DEED, "1")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let asked = runtime.block_on(async { timeout(within, exchange(address, request)).await });
    asked.map_err(|_| format!("no answer within {} ms", within.as_millis()))?
}

async fn exchange(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, String), String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("{error}: does corelay run, with this admin_listen?"))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // The connection is driven beside the request, and ends with it.
    let driving = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    driving.abort();
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}
