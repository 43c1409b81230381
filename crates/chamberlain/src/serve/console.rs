//! The console's address: health and metrics for whoever watches, and a page that says what this
//! is.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

/// Tells whether calls can be taken; the reason when not.
pub(super) type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Serves until `stop`. `hosts` are the names by which it may be called.
pub(super) async fn serve(
    listener: TcpListener,
    hosts: Vec<String>,
    readiness: Readiness,
    metrics: Metrics,
    stop: CancellationToken,
) {
    // Probes tell nobody anything, and come under all sorts of names.
    let probes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(readiness);
    let router = Router::new()
        .route("/", get(page))
        .route("/metrics", get(show))
        .with_state(Arc::new(metrics))
        .layer(middleware::from_fn_with_state(Arc::new(hosts), by_its_name))
        .merge(probes);
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the console's listener ended");
    }
}

/// Answers only who calls the console by its name: the page of somebody else's web site, opened in a
/// browser here, can have its own name lead to this address (DNS rebinding) and read what is shown.
async fn by_its_name(
    State(hosts): State<Arc<Vec<String>>>,
    request: Request,
    next: Next,
) -> Response {
    let own = request.uri().authority().map(Authority::as_str);
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let named = own.or(host).unwrap_or_default();
    if is_own_name(named, &hosts) {
        return next.run(request).await;
    }
    let told = "The console is not known by this name. Call it by localhost or by its address, or \
        list the name in server.console_hosts.\n";
    (StatusCode::MISDIRECTED_REQUEST, told).into_response()
}

/// Whether `host` (with or without a port) is localhost, an address, or one of `hosts`. An address
/// cannot be made to lead elsewhere.
fn is_own_name(host: &str, hosts: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let bare = name.trim_matches(['[', ']']);
    !host.contains('@')
        && (bare.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || hosts.iter().any(|own| own.eq_ignore_ascii_case(name)))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    match readiness() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response()
        }
    }
}

async fn show(State(metrics): State<Arc<Metrics>>) -> Response {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match tokio::task::spawn_blocking(move || metrics.page()).await {
        Ok(Ok(page)) => ([(header::CONTENT_TYPE, OPENMETRICS)], page).into_response(),
        Ok(Err(_)) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn page() -> Response {
    const PAGE: &str = include_str!("console.html");
    let headers = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(PAGE.replace("{version}", env!("CARGO_PKG_VERSION")))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_names_are_answered() {
        let hosts = ["chamberlain.internal".to_owned()];
        for own in [
            "localhost",
            "LOCALHOST:8788",
            "127.0.0.1:8788",
            "10.0.0.7",
            "[::1]:8788",
            "Chamberlain.internal:8788",
        ] {
            assert!(is_own_name(own, &hosts), "{own}");
        }
        for foreign in [
            "",
            "evil.example",
            "evil.example:8788",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "chamberlain.internal.",
            "127.0.0.1 evil.example",
        ] {
            assert!(!is_own_name(foreign, &hosts), "{foreign}");
        }
    }
}
