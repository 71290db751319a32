//! The mirrored files over HTTP: ranges and conditions by tower-http, an index of directories by us.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use bstr::ByteSlice;
use tower_http::services::ServeDir;
use tower_service::Service;

use super::published;
use crate::api::words;
use crate::markup::{encode, encode_path};
use crate::site::Site;

/// Entries of a directory that are listed; there is a line that says so when there are more.
const MOST_ENTRIES: usize = 20_000;

/// Serves what the jobs of a site published last, each below `/NAME/`. Nothing whose name begins with a
/// dot is served or listed, so nothing that a run has not finished.
pub fn file_server(site: Site) -> Router {
    Router::new()
        .route("/", get(roots))
        .route("/{job}", get(with_slash))
        .route("/{job}/", get(in_root))
        .route("/{job}/{*path}", get(in_job))
        .with_state(site)
}

/// One line of an index.
struct Line {
    name: String,
    link: String,
    size: String,
    time: String,
}

#[derive(Template)]
#[template(path = "files.html")]
struct Index {
    title: String,
    has_parent: bool,
    lines: Vec<Line>,
    is_cut: bool,
}

async fn roots(State(site): State<Site>) -> Response {
    let config = site.config();
    let lines = config.jobs.iter().map(|job| Line {
        name: format!("{}/", job.job.name),
        link: format!("{}/", encode(job.job.name.as_bytes())),
        size: String::new(),
        time: String::new(),
    });
    page(&Index { title: "/".to_owned(), has_parent: false, lines: lines.collect(), is_cut: false })
}

async fn with_slash(Path(job): Path<String>) -> Redirect {
    Redirect::permanent(&format!("/{}/", encode(job.as_bytes())))
}

async fn in_root(state: State<Site>, Path(job): Path<String>, request: Request) -> Response {
    in_job(state, Path((job, String::new())), request).await
}

async fn in_job(
    State(site): State<Site>,
    Path((name, path)): Path<(String, String)>,
    request: Request,
) -> Response {
    let config = site.config();
    let Some(job) = config.job(&name) else { return missing() };
    if path.split('/').any(|part| part.starts_with('.')) || path.contains('\0') {
        return missing();
    }
    let root = published(job);
    let directory = root.join(&path);
    let shown = format!("/{name}/{path}");
    let looked = tokio::task::spawn_blocking(move || look(&root, &directory, shown)).await;
    match looked {
        Ok(Look::Directory(index)) if request.uri().path().ends_with('/') => page(&index),
        Ok(Look::Directory(_)) => Redirect::permanent(&format!("{}/", request.uri().path())).into_response(),
        Ok(Look::File(relative)) => send(published(job), &relative, request).await,
        Ok(Look::Nothing) | Err(_) => missing(),
    }
}

enum Look {
    Directory(Index),
    /// The path below the root, without links.
    File(PathBuf),
    Nothing,
}

/// What is at a path. A link leads on as long as it stays in the tree.
fn look(root: &FilePath, path: &FilePath, title: String) -> Look {
    let (Ok(root), Ok(path)) = (root.canonicalize(), path.canonicalize()) else { return Look::Nothing };
    let Ok(relative) = path.strip_prefix(&root) else { return Look::Nothing };
    match path.metadata() {
        Ok(meta) if meta.is_dir() => list(&path, title).map_or(Look::Nothing, Look::Directory),
        Ok(meta) if meta.is_file() => Look::File(relative.to_owned()),
        _ => Look::Nothing,
    }
}

fn list(directory: &FilePath, title: String) -> Option<Index> {
    let mut directories = BTreeMap::new();
    let mut files = BTreeMap::new();
    let mut is_cut = false;
    for entry in directory.read_dir().ok()?.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        // A link that leads nowhere has nothing to show.
        let Ok(meta) = std::fs::metadata(entry.path()) else { continue };
        if name.starts_with(b".") {
            continue;
        }
        if directories.len() + files.len() >= MOST_ENTRIES {
            is_cut = true;
            break;
        }
        let slash = if meta.is_dir() { "/" } else { "" };
        let time = meta.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
        let line = Line {
            name: format!("{}{slash}", name.to_str_lossy()),
            link: format!("./{}{slash}", encode(name)),
            size: if meta.is_dir() { String::new() } else { words::size(meta.len()) },
            time: time.map(|time| time.strftime("%Y-%m-%d %H:%M").to_string()).unwrap_or_default(),
        };
        let list = if meta.is_dir() { &mut directories } else { &mut files };
        list.insert(name.to_vec(), line);
    }
    let lines = directories.into_values().chain(files.into_values()).collect();
    Some(Index { title, has_parent: true, lines, is_cut })
}

/// Sends a file, or the parts of it that are asked for.
async fn send(root: PathBuf, relative: &FilePath, request: Request) -> Response {
    let uri = format!("/{}", encode_path(relative.as_os_str().as_encoded_bytes()));
    let (mut parts, _) = request.into_parts();
    let Ok(uri) = uri.parse() else { return missing() };
    parts.uri = uri;
    let mut service = ServeDir::new(root).append_index_html_on_directories(false);
    match service.call(Request::from_parts(parts, Body::empty())).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

fn page(index: &Index) -> Response {
    match index.render() {
        Ok(text) => {
            let mut response = Html(text).into_response();
            let policy = "default-src 'none'; style-src 'unsafe-inline'";
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
            response
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, "there is no such file here\n").into_response()
}
