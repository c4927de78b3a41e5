//! The two generation endpoints: read, validate, generate, answer, with faults on the way.

use super::answer;
use super::body::{Answer, Ticket};
use super::error::{ApiError, ENGINE_DEAD};
use super::faults::{Action, Place};
use super::generation::Generation;
use super::ledger::Rule;
use super::node::{Node, unix_seconds};
use super::options::Role;
use super::request::{Endpoint, Request};
use super::routes::{error, read_json, respond};
use super::socket::{Busy, Control, Ending};
use super::stream::{EventStream, Mishap};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

type Response = hyper::Response<Answer>;

/// Answers one generation request.
///
/// # Cancel safety
/// hyper drops this future when the client leaves; the engine then aborts the request.
pub(crate) async fn answer(
    node: &Rc<Node>,
    control: Rc<Control>,
    endpoint: Endpoint,
    http: hyper::Request<Incoming>,
    busy: Busy,
) -> Response {
    let path = endpoint.path();
    let header_id = http
        .headers()
        .get("x-request-id")
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let is_json = http
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    let body = read_json(http).await;
    let mut ticket = Ticket::open(&node.shared, path);
    let mishap = match node.shared.draw(Place::Generate, path) {
        Some(action) => match strike(node, &control, action).await {
            Struck::Refused(status, text) => {
                ticket.refuse();
                return refusal(status, text, busy);
            }
            Struck::Later(mishap) => Some(mishap),
            Struck::Goes => None,
        },
        None => None,
    };
    let body = if is_json {
        body
    } else {
        let text = "Unsupported Media Type: Only 'application/json' is allowed";
        Err(ApiError::malformed(text, None))
    };
    let parsed = body.and_then(|body| {
        let (options, random) = (&node.shared.options, node.random_id());
        Request::parse(endpoint, &body, header_id.as_deref(), &random, options)
    });
    match parsed {
        Ok(request) if is_running(node, &request) => {
            // The engine dies over it, and the second request is never told.
            pending::<Response>().await
        }
        Ok(request) => generate(node, control, request, mishap, ticket, busy).await,
        Err(refusal) => {
            ticket.refuse();
            error(&refusal, busy)
        }
    }
}

/// What is left to do after a fault struck.
enum Struck {
    Refused(u16, Option<String>),
    Later(Later),
    Goes,
}

/// Faults that strike once the request was admitted.
enum Later {
    Refuse(u16),
    Stream(Mishap),
}

async fn strike(node: &Node, control: &Control, action: Action) -> Struck {
    match action {
        Action::Refuse { status, body } => return Struck::Refused(status, body),
        Action::RefuseAfter { status } => return Struck::Later(Later::Refuse(status)),
        Action::ResetMidStream { events } => {
            let mishap = Mishap::Cut(events, Ending::Reset);
            return Struck::Later(Later::Stream(mishap));
        }
        Action::CloseMidStream { events } => {
            let mishap = Mishap::Cut(events, Ending::Close);
            return Struck::Later(Later::Stream(mishap));
        }
        Action::StreamError { events } => {
            return Struck::Later(Later::Stream(Mishap::Error(events)));
        }
        Action::ResetBeforeHead => {
            control.end(Ending::Reset);
            pending::<()>().await;
        }
        Action::CloseBeforeHead => {
            control.end(Ending::Close);
            pending::<()>().await;
        }
        Action::StallBeforeHead { ms: None } => pending::<()>().await,
        Action::StallBeforeHead { ms: Some(ms) } => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        Action::Trickle => control.trickle.set(true),
        Action::Freeze => node.engine.freeze(),
        Action::Die => node.engine.doom("a fault killed the engine"),
        // Not drawn here.
        Action::Health { .. } | Action::CloseIdle { .. } => {}
    }
    Struck::Goes
}

fn refusal(status: u16, text: Option<String>, busy: Busy) -> Response {
    match text {
        Some(text) => respond(status, Some("application/json"), Answer::whole(text, busy)),
        None => {
            let refusal = ApiError {
                status,
                ..ApiError::internal("refused by a fault")
            };
            error(&refusal, busy)
        }
    }
}

/// Whether a request's id runs already. The engine knows requests by their ids alone and, with ids
/// that are not made unique, dies over a second one.
fn is_running(node: &Node, request: &Request) -> bool {
    let options = &node.shared.options;
    if options.role == Role::Both || options.random_ids || request.beam_search {
        return false;
    }
    let ids = (0..request.prompts.len())
        .flat_map(|prompt| (0..request.n).map(move |choice| (prompt, choice)))
        .map(|(prompt, choice)| request.engine_id(prompt, choice));
    let twice = node.shared.record(|ledger| {
        let id = ids.into_iter().find(|id| ledger.is_live(id))?;
        let text = format!("{id}: asked for again while it was running");
        ledger.violate(Rule::DuplicateId, &id, text.clone());
        Some(text)
    });
    twice.is_some_and(|text| {
        node.engine.doom(text);
        true
    })
}

async fn generate(
    node: &Rc<Node>,
    control: Rc<Control>,
    request: Request,
    later: Option<Later>,
    mut ticket: Ticket,
    busy: Busy,
) -> Response {
    let options = &node.shared.options;
    if request.prompt_logprobs && options.role == Role::Decode && options.dies_on_prompt_logprobs {
        let id = request.engine_id(0, 0);
        let text = format!("{id}: prompt logprobs were asked of a decode node");
        node.shared.record(|ledger| {
            ledger.violate(Rule::PromptLogprobsOnDecode, &id, text.clone());
        });
        node.engine.doom(text);
    }
    // A beam search draws a fresh id for every step, so P and D can never agree on one.
    let suffix = if options.random_ids || request.beam_search {
        let random = node.random_id();
        format!("-{}", random.get(..8).unwrap_or_default())
    } else {
        String::new()
    };
    let created = unix_seconds();
    let fingerprint = options.fingerprint();
    let generation = Generation::start(Rc::clone(&node.engine), &request, &suffix);
    let (refuse, mishap) = match later {
        Some(Later::Refuse(status)) => (Some(status), None),
        Some(Later::Stream(mishap)) => (None, Some(mishap)),
        None => (None, None),
    };
    if request.shape.stream && refuse.is_none() {
        let model = &options.model;
        let events = EventStream::new(generation, request, model, fingerprint, created, control)
            .with(mishap);
        let body = Answer::events(events, busy).with(ticket);
        return respond(200, Some("text/event-stream; charset=utf-8"), body);
    }
    let alive = generation.complete().await;
    let trouble = if let Some(status) = refuse {
        Some(ApiError {
            status,
            ..ApiError::internal("refused by a fault after generation")
        })
    } else if !alive {
        Some(ApiError::internal(ENGINE_DEAD))
    } else if request.null_max_tokens {
        Some(ApiError::internal(""))
    } else {
        None
    };
    if let Some(trouble) = trouble {
        ticket.refuse();
        return error(&trouble, busy);
    }
    let text = answer::json(&generation, &request, &options.model, &fingerprint, created);
    let body = Answer::whole(text, busy).with(ticket);
    respond(200, Some("application/json"), body)
}
