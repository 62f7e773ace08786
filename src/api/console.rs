//! The web console, embedded in the binary.
//!
//! A binary built without Node.js has no console: it serves the API and says how to build one.

use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::RustEmbed;

use super::document;
use super::fault::{Allowed, Code, Fault, Place};

#[derive(RustEmbed)]
#[folder = "console/dist"]
#[allow_missing = true]
struct Files;

const WITHOUT: &str = "<!doctype html><meta charset=utf-8><title>Davy</title>\
<p>此程序未内置控制台。安装 Node.js 20 以上后运行 <code>make console</code>，再重新编译。接口说明：\
<a href=/api/v1/openapi.json>/api/v1/openapi.json</a></p>\
<p>This binary was built without the console. With Node.js 20 or newer run <code>make console</code> \
and build again. The interface: <a href=/api/v1/openapi.json>/api/v1/openapi.json</a></p>";

/// A file of the console; its first page for every path that is no file.
pub(super) async fn serve(method: Method, uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") {
        let allowed = Allowed::one_of(document::paths());
        let fault = Fault::new(Code::NotThere, Place::Path, "", allowed).found(uri.path());
        return fault.problem().into_response();
    }
    if !matches!(method, Method::GET | Method::HEAD) {
        let allow = [(header::ALLOW, "GET,HEAD")];
        return (StatusCode::METHOD_NOT_ALLOWED, allow).into_response();
    }
    let found = Files::get(path).map(|file| (path, file));
    let found = found.or_else(|| Files::get("index.html").map(|file| ("index.html", file)));
    let Some((name, file)) = found else {
        return (StatusCode::OK, Html(WITHOUT)).into_response();
    };
    // Built files carry a hash in their name and never change; the page that names them may.
    let cache = if name.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = [
        (header::CONTENT_TYPE, file.metadata.mimetype().to_owned()),
        (header::CACHE_CONTROL, cache.to_owned()),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
             frame-ancestors 'none'"
                .to_owned(),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, file.data).into_response()
}
