//! The admin port: HTTP for Prometheus, load balancers and people. It shows; all that can be done
//! through it is a planned switchover and a reload of the configuration, asked for by `corelay
//! switchover` and `corelay reload` from this very host.
//!
//! One thread serves all connections (tokio's single-threaded runtime under hyper). Bounds: so many
//! connections at once, and when one more comes the oldest has to go; one request for each
//! connection; a head of at most 8 KiB, in time; the whole exchange in time. So neither clients
//! that send nothing nor those that read nothing keep others out, and none costs more than its
//! buffer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::listener::{self, Next, PortHandle, Stopped};
use super::reload::Reloads;
use super::state::ControlState;
use super::switchover::Switchovers;
use super::{accept, overview, readiness, reload};
use crate::stats::{plain_text, prometheus};

/// A request's body, bytes: two names.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// What `corelay switchover` and `corelay reload` send beside their request: a page in a browser on
/// this host can not.
pub(super) const DEED: &str = "corelay-deed";
/// Connections at once.
const CONNECTIONS_MAX: usize = 64;
/// A request's head, bytes (hyper's least).
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;
/// A request's head must be there by then.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// Request and response must be done by then.
const EXCHANGE_MAX: Duration = Duration::from_secs(10);
/// Pause after an accept that failed (no descriptors left): no spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the cores' latencies are taken in.
const COLLECT_EVERY: Duration = Duration::from_secs(1);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const INDEX: &str = "corelay admin port\n\
    /metrics   all figures for prometheus\n\
    /healthz   200: the process is alive\n\
    /readyz    200: every pool listens and every shard that was needed is connected; 503: why not\n\
    /stats     live counters, latency quantiles, clients of each core, as json\n\
    /topology  where every shard's primary is, as json\n\
    /switchover  the switchover under way, or the last, as json\n\
    /reload    what became of the last reload of the configuration, as json\n";

/// Serves on a thread of its own.
pub fn start(
    listener: StdListener,
    state: Arc<ControlState>,
    deeds: Deeds,
) -> io::Result<PortHandle> {
    let serve = move |listener, stopped| serve(listener, state, deeds, stopped);
    listener::serve("corelay-admin", listener, serve)
}

async fn serve(
    listener: TcpListener,
    state: Arc<ControlState>,
    deeds: Deeds,
    mut stopped: Stopped,
) {
    tokio::spawn(collect(state.clone()));
    let mut connections: VecDeque<JoinHandle<()>> = VecDeque::new();
    loop {
        match stopped.or_accept(&listener).await {
            Next::Connection(stream, peer) => {
                connections.retain(|connection| !connection.is_finished());
                if connections.len() >= CONNECTIONS_MAX
                    && let Some(oldest) = connections.pop_front()
                {
                    oldest.abort();
                    state.log.warn(
                        "admin port: oldest connection closed for a fresh one",
                        &[("connections_max", &CONNECTIONS_MAX)],
                    );
                }
                let page = Page { state: state.clone(), deeds: deeds.clone(), peer };
                connections.push_back(tokio::spawn(exchange(stream, page)));
            }
            Next::Failed(error) => {
                state.log.warn("admin port: accept failed", &[("error", &error)]);
                sleep(ACCEPT_PAUSE).await;
            }
            Next::Close => break,
            Next::End => return,
        }
    }
    drop(listener);
    for connection in connections {
        // One that was aborted is over, too.
        let _ = connection.await;
    }
}

/// Keeps the windows of the latency quantiles turning.
async fn collect(state: Arc<ControlState>) {
    loop {
        state.collect_latency();
        sleep(COLLECT_EVERY).await;
    }
}

/// What a request is answered from.
#[derive(Clone)]
struct Page {
    state: Arc<ControlState>,
    deeds: Deeds,
    peer: SocketAddr,
}

/// What can be done through the port.
#[derive(Clone, Debug)]
pub struct Deeds {
    pub switchovers: Arc<Switchovers>,
    pub reloads: Reloads,
}

/// One request and its response.
async fn exchange(stream: TcpStream, page: Page) {
    let state = page.state.clone();
    let answer = |request: Request<Incoming>| {
        let page = page.clone();
        async move {
            let deed = (request.method() == Method::POST).then(|| request.uri().path());
            Ok::<_, Infallible>(match deed {
                Some("/switchover") => switch_over(request, &page).await,
                Some(reload::PATH) => reload(request, &page).await,
                _ => respond(&request, &page),
            })
        }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    match timeout(EXCHANGE_MAX, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            state.log.debug("admin port: client not served", &[("error", &error)]);
        }
        Err(late) => state.log.debug("admin port: client not served", &[("error", &late)]),
    }
}

/// `{"pool": …, "shard": …}`; the pool may be left out.
#[derive(serde::Deserialize)]
struct Wish {
    pool: Option<String>,
    shard: String,
}

/// `{"allow_moved_keys": …}`
#[derive(serde::Deserialize)]
struct ReloadWish {
    allow_moved_keys: bool,
}

/// Begins a switchover.
async fn switch_over(request: Request<Incoming>, page: &Page) -> Response<Full<Bytes>> {
    let form = "{\"pool\": NAME, \"shard\": NAME}";
    let wish: Wish = match wish(request, page, form).await {
        Ok(wish) => wish,
        Err(refusal) => return refusal,
    };
    match page.deeds.switchovers.begin(wish.pool.as_deref(), &wish.shard) {
        Ok(()) => response(StatusCode::ACCEPTED, TEXT, "begun; GET shows how it goes\n".to_owned()),
        Err(why) => response(StatusCode::CONFLICT, TEXT, format!("{why}\n")),
    }
}

/// Reloads the configuration, and says what became of it.
async fn reload(request: Request<Incoming>, page: &Page) -> Response<Full<Bytes>> {
    let form = "{\"allow_moved_keys\": false}";
    let wish: ReloadWish = match wish(request, page, form).await {
        Ok(wish) => wish,
        Err(refusal) => return refusal,
    };
    let (status, lines) = match page.deeds.reloads.by_admin(wish.allow_moved_keys).await {
        Ok(lines) => (StatusCode::OK, lines),
        Err(lines) => (StatusCode::CONFLICT, lines),
    };
    response(status, TEXT, lines.join("\n") + "\n")
}

/// What is asked for. Whoever can reach this port may look, but not act: that is for this host.
async fn wish<W: serde::de::DeserializeOwned>(
    request: Request<Incoming>,
    page: &Page,
    form: &str,
) -> Result<W, Response<Full<Bytes>>> {
    let is_ours = page.peer.ip().to_canonical().is_loopback();
    if !is_ours || !request.headers().contains_key(DEED) {
        let why = "this is asked for on this host, by corelay switchover or corelay reload\n";
        return Err(response(StatusCode::FORBIDDEN, TEXT, why.to_owned()));
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let wish = body.ok().and_then(|body| serde_json::from_slice::<W>(&body.to_bytes()).ok());
    wish.ok_or_else(|| {
        response(StatusCode::BAD_REQUEST, TEXT, format!("the body has to be {form}\n"))
    })
}

fn respond(request: &Request<Incoming>, page: &Page) -> Response<Full<Bytes>> {
    let (method, state) = (request.method(), &*page.state);
    let (status, kind, body) = match request.uri().path() {
        "/" | "/metrics" | "/healthz" | "/readyz" | "/stats" | "/topology" | "/switchover"
        | "/reload"
            if method != Method::GET && method != Method::HEAD =>
        {
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are served\n".to_owned())
        }
        "/" => (StatusCode::OK, TEXT, INDEX.to_owned()),
        "/healthz" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => ready(state),
        "/metrics" => metrics(request.headers(), state),
        "/stats" => (StatusCode::OK, JSON, format!("{:#}\n", overview::stats(state))),
        "/topology" => (StatusCode::OK, JSON, format!("{:#}\n", overview::topology(state))),
        "/switchover" => (StatusCode::OK, JSON, format!("{:#}\n", page.deeds.switchovers.show())),
        reload::PATH => (StatusCode::OK, JSON, format!("{:#}\n", state.last_reload.show())),
        _ => {
            (StatusCode::NOT_FOUND, TEXT, "no such page; / lists those that there are\n".to_owned())
        }
    };
    response(status, kind, body)
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// As OpenMetrics for those who ask for it, else in Prometheus' own text format.
fn metrics(headers: &HeaderMap, state: &ControlState) -> (StatusCode, &'static str, String) {
    let wanted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    match state.exposition().into_text() {
        Ok(text) if accept::prefers_openmetrics(wanted) => {
            (StatusCode::OK, prometheus::CONTENT_TYPE, text)
        }
        Ok(text) => (StatusCode::OK, plain_text::CONTENT_TYPE, plain_text::plain_text(&text)),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
    }
}

fn ready(state: &ControlState) -> (StatusCode, &'static str, String) {
    let mut reasons = readiness::reasons(state);
    if reasons.is_empty() {
        return (StatusCode::OK, TEXT, "ready\n".to_owned());
    }
    reasons.push(String::new());
    (StatusCode::SERVICE_UNAVAILABLE, TEXT, reasons.join("\n"))
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
