//! What a site answers over HTTP: its JSON API, metrics, the status page, and what tunasync's manager and
//! `mirrorz.json` would say (spec 11 §2.5, §3.1, §3.7).
//!
//! Reading is free. Whoever changes something comes over the socket of the commands, or has the site's
//! token: as a bearer, or as a session of the page, whose forms carry a proof that they are the page's.

mod access;
mod client;
mod json;
mod live;
mod metrics;
mod mirrorz;
mod openapi;
mod page;
mod routes;
mod server;
mod svg;
mod tunasync;
pub(crate) mod words;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;

pub(crate) use access::{is_token, proof as signature};
pub use client::{ClientError, SiteAddress, SiteClient};
pub(crate) use json::Refused;
pub use server::{Admission, Door, ServeError, serve};
pub(crate) use tunasync::obey;
pub use words::size as size_in_words;
pub(crate) use words::tuna_size;

use crate::site::Site;
use live::Live;

/// What every handler gets.
#[derive(Clone)]
pub(crate) struct Api {
    site: Site,
    live: Arc<Live>,
}

/// The page and the API of a site. Needs a tokio runtime.
pub fn router(site: Site) -> Router {
    let live = Arc::new(Live::new(site.clone()));
    let mut router = Router::new();
    for route in routes::all() {
        router = router.route(route.path, route.handler);
    }
    router.fallback(page::not_found).layer(from_fn(protect)).with_state(Api { site, live })
}

/// Headers that keep a browser from doing more with an answer than showing it.
async fn protect(request: axum::extract::Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
        img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests;
