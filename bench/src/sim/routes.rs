//! Which path does what, and the small answers.

use super::body::Answer;
use super::catalog;
use super::error::ApiError;
use super::faults::{Action, Fault, Place};
use super::generate;
use super::node::Node;
use super::request::Endpoint;
use super::socket::{Busy, Control};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue, SERVER, VARY};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;

/// Answers one request. Every answer carries uvicorn's name and the CORS middleware's `Vary`.
pub(crate) async fn answer(
    node: Rc<Node>,
    control: Rc<Control>,
    request: Request<Incoming>,
) -> Response<Answer> {
    let busy = control.busy();
    if let Some(Action::CloseIdle { ms }) = node.shared.draw(Place::Idle, request.uri().path()) {
        control.limit_idle(Duration::from_millis(ms));
    }
    let mut response = route(&node, control, request, busy).await;
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("uvicorn"));
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    response
}

async fn route(
    node: &Rc<Node>,
    control: Rc<Control>,
    request: Request<Incoming>,
    busy: Busy,
) -> Response<Answer> {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    if !authorized(node, &path, &request) {
        return json_text(401, json!({"error": "Unauthorized"}).to_string(), busy);
    }
    let (get, post) = (method == Method::GET, method == Method::POST);
    match path.as_str() {
        "/v1/completions" if post => {
            generate::answer(node, control, Endpoint::Completions, request, busy).await
        }
        "/v1/chat/completions" if post => {
            generate::answer(node, control, Endpoint::Chat, request, busy).await
        }
        "/tokenize" if post => {
            let body = read_json(request).await;
            json_result(body.map(|body| catalog::tokenized(node, &body)), busy)
        }
        "/detokenize" if post => {
            let body = read_json(request).await;
            json_result(body.map(|body| catalog::detokenized(&body)), busy)
        }
        "/health" if get => empty(health(node), busy),
        "/ping" if get || post => empty(health(node), busy),
        "/v1/models" if get => json_text(200, catalog::models(node), busy),
        "/version" if get => {
            let version = &node.shared.options.vllm_version;
            json_text(200, json!({"version": version}).to_string(), busy)
        }
        "/load" if get => {
            let load = node.engine.load();
            json_text(200, json!({"server_load": load}).to_string(), busy)
        }
        "/metrics" if get || method == Method::HEAD => metrics(node, busy),
        "/sim/ledger" if get => json_text(200, ledger(node), busy),
        "/sim/faults" => faults(node, &method, request, busy).await,
        "/v1/completions" | "/v1/chat/completions" | "/tokenize" | "/detokenize" => {
            not_allowed("POST", busy)
        }
        "/health" | "/ping" | "/v1/models" | "/version" | "/load" | "/metrics" | "/sim/ledger" => {
            not_allowed("GET", busy)
        }
        _ => detail(404, "Not Found", busy),
    }
}

/// Only paths under `/v1`, `/v2` and `/inference` are guarded.
fn authorized(node: &Node, path: &str, request: &Request<Incoming>) -> bool {
    let Some(key) = &node.shared.options.api_key else {
        return true;
    };
    let guarded = ["/v1", "/v2", "/inference"]
        .iter()
        .any(|prefix| path.starts_with(prefix));
    if !guarded || request.method() == Method::OPTIONS {
        return true;
    }
    request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && token == key)
}

fn health(node: &Node) -> u16 {
    match node.shared.draw(Place::Health, "/health") {
        Some(Action::Health { status }) => status,
        _ if node.engine.is_dead() => 503,
        _ => 200,
    }
}

fn metrics(node: &Node, busy: Busy) -> Response<Answer> {
    let text = node.engine.metrics.render(&node.shared.options.model);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    respond(200, Some(kind), Answer::whole(text, busy))
}

fn ledger(node: &Node) -> String {
    let value = node.shared.read(|ledger| {
        let mut value = serde_json::to_value(ledger).unwrap_or_default();
        if let Value::Object(map) = &mut value {
            map.insert("leaks".to_owned(), json!(ledger.leaks()));
            map.insert("clean".to_owned(), json!(ledger.is_clean()));
        }
        value
    });
    value.to_string()
}

/// `GET` lists the faults, `POST` adds one or a list of them, `DELETE` removes all.
async fn faults(
    node: &Node,
    method: &Method,
    request: Request<Incoming>,
    busy: Busy,
) -> Response<Answer> {
    if method == Method::POST {
        let added = read_json(request).await.and_then(|body| {
            let list = match body {
                Value::Array(list) => list,
                one => vec![one],
            };
            list.into_iter()
                .map(serde_json::from_value::<Fault>)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| ApiError::invalid(e.to_string(), None))
        });
        match added {
            Ok(list) => list
                .into_iter()
                .for_each(|fault| node.shared.faults().add(fault)),
            Err(refusal) => return error(&refusal, busy),
        }
    } else if method == Method::DELETE {
        node.shared.faults().clear();
    } else if method != Method::GET {
        return not_allowed("GET, POST, DELETE", busy);
    }
    let list = json!(node.shared.faults().list()).to_string();
    json_text(200, list, busy)
}

/// Reads a whole body as JSON.
///
/// # Errors
/// The client broke off, or sent something else.
pub(crate) async fn read_json(request: Request<Incoming>) -> Result<Value, ApiError> {
    let body = request.into_body().collect().await;
    let bytes = body.map_err(|e| ApiError::malformed(e, None))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|e| {
        ApiError::malformed(
            format_args!(
                "{{'type': 'json_invalid', 'loc': ('body', {}), 'msg': 'JSON decode error'}}",
                e.column()
            ),
            None,
        )
    })
}

/// An error object.
pub(crate) fn error(error: &ApiError, busy: Busy) -> Response<Answer> {
    json_text(error.status, error.json(), busy)
}

/// JSON that is already text.
pub(crate) fn json_text(status: u16, text: String, busy: Busy) -> Response<Answer> {
    respond(status, Some("application/json"), Answer::whole(text, busy))
}

fn json_result(result: Result<String, ApiError>, busy: Busy) -> Response<Answer> {
    match result {
        Ok(text) => json_text(200, text, busy),
        Err(refusal) => error(&refusal, busy),
    }
}

fn empty(status: u16, busy: Busy) -> Response<Answer> {
    respond(status, None, Answer::whole("", busy))
}

/// An error of the web framework, before vLLM sees the request.
fn detail(status: u16, text: &str, busy: Busy) -> Response<Answer> {
    json_text(status, json!({"detail": text}).to_string(), busy)
}

fn not_allowed(allow: &'static str, busy: Busy) -> Response<Answer> {
    let mut response = detail(405, "Method Not Allowed", busy);
    let allow = HeaderValue::from_static(allow);
    response.headers_mut().insert(ALLOW, allow);
    response
}

/// A response with a body of this type. A status that HTTP does not know becomes 500.
pub(crate) fn respond(status: u16, kind: Option<&'static str>, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(kind) = kind {
        let kind = HeaderValue::from_static(kind);
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}
