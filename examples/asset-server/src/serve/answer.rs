//! Carries out the answer to one request.

use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::lookup;
use super::pages;
use super::source::{Content, Failure, Found, GATHER_MAX};
use super::wire::Wire;
use super::worker::Worker;
use crate::http::request::{Head, Method};
use crate::http::status::Status;
use crate::path::RelPath;
use crate::plan::{self, Body, Connection, Plan};
use crate::priority;
use crate::route::{Route, route};

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The next request may come.
    KeepOpen,
    /// It ends: the client is done.
    Close,
    /// It ends, though the client may still be sending.
    Linger,
}

const RETRY_AFTER_S: u32 = 1;

/// Answers requests; keeps what can be used again.
#[derive(Default)]
pub(super) struct Answerer {
    path: RelPath,
}

/// Counts a request as long as it is being answered.
struct InFlight<'w>(&'w Worker);

impl<'w> InFlight<'w> {
    fn begin(worker: &'w Worker) -> Self {
        worker.metrics().requests_in_flight.add(1);
        Self(worker)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics().requests_in_flight.sub(1);
    }
}

impl Answerer {
    /// Answers one request.
    ///
    /// # Errors
    /// What ends the connection at once.
    pub(super) async fn answer(&mut self, wire: &mut Wire, head: &Head<'_>) -> io::Result<After> {
        let began = Instant::now();
        let worker = Rc::clone(&wire.worker);
        let _in_flight = InFlight::begin(&worker);
        let (mut plan, content) = self.prepare(&worker, head).await;
        let is_closed_here = worker.is_draining() && plan.keeps_connection();
        if is_closed_here {
            plan.close();
        }
        carry_out(wire, &plan, content).await?;
        worker.metrics().answered(plan.status, began.elapsed());
        Ok(match plan.connection {
            Connection::Persistent | Connection::KeepAlive => After::KeepOpen,
            // The client does not know yet, and may be sending its next request.
            Connection::Close if is_closed_here => After::Linger,
            Connection::Close => After::Close,
            Connection::CloseLingering => After::Linger,
        })
    }

    /// Sends an answer whose body is at most a text.
    ///
    /// # Errors
    /// What ends the connection at once.
    pub(super) async fn send_text(&mut self, wire: &mut Wire, plan: &Plan) -> io::Result<()> {
        let began = Instant::now();
        wire.worker.now();
        carry_out(wire, plan, None).await?;
        let metrics = wire.worker.metrics();
        metrics.answered(plan.status, began.elapsed());
        Ok(())
    }

    /// Decides on the answer and makes its bytes ready, if it has any beyond its plan.
    async fn prepare(&mut self, worker: &Rc<Worker>, head: &Head<'_>) -> (Plan, Option<Content>) {
        let now = worker.now();
        let found = match self.find(worker, head).await {
            Ok(found) => found,
            Err(status) => return (failed(head, status), None),
        };
        let (resource, source) = match found {
            Some(found) => (Some(found.resource), Some(found.source)),
            None => (None, None),
        };
        let plan = {
            let mut boundaries = worker.boundaries.borrow_mut();
            plan::respond(head, resource.as_ref(), now, &mut boundaries)
        };
        let class = priority::class(head, plan.content_length.unwrap_or_default());
        match (plan.body, source) {
            (Body::Range(_) | Body::Parts(_), Some(source)) => {
                match source.open(worker, &plan.body, class).await {
                    Ok(content) => (plan, Some(content)),
                    Err(failure) => (failed(head, status_of(failure)), None),
                }
            }
            // What GET could not give, HEAD does not promise.
            (Body::Nothing, Some(source)) if promises_body(head, &plan) => {
                match source.open(worker, &plan.body, class).await {
                    Ok(_) => (plan, None),
                    Err(failure) => (failed(head, status_of(failure)), None),
                }
            }
            _ => (plan, None),
        }
    }

    async fn find<'s>(
        &mut self,
        worker: &'s Rc<Worker>,
        head: &Head<'_>,
    ) -> Result<Option<Found<'s>>, Status> {
        if head.method == Method::Other {
            return Ok(None);
        }
        let found = match route(head.path, &mut self.path) {
            Route::Missing => return Ok(None),
            Route::Refused(status) => return Err(status),
            Route::Health => return Ok(Some(pages::health())),
            Route::Metrics => pages::metrics(worker).await.map(Some),
            Route::Index => pages::index(worker).await.map(Some),
            Route::Asset if self.path.is_folder() => {
                pages::folder(worker, &self.path, head.query).await
            }
            Route::Asset => lookup::find(worker, &self.path).await,
            Route::Content(hash) => lookup::find_content(worker, &hash).await,
        };
        found.map_err(status_of)
    }
}

fn promises_body(head: &Head<'_>, plan: &Plan) -> bool {
    head.method == Method::Head
        && plan.status == Status::Ok
        && plan.content_length.is_some_and(|len| len > 0)
}

fn status_of(failure: Failure) -> Status {
    match failure {
        Failure::Overloaded => Status::ServiceUnavailable,
        Failure::Broken => Status::InternalError,
    }
}

fn failed(head: &Head<'_>, status: Status) -> Plan {
    let mut plan = plan::failure(head, status);
    if status == Status::ServiceUnavailable {
        plan.retry_after_s = Some(RETRY_AFTER_S);
    }
    plan
}

/// Sends what a plan says, and counts it where it cannot.
async fn carry_out(wire: &mut Wire, plan: &Plan, content: Option<Content>) -> io::Result<()> {
    let sent = send_all(wire, plan, content).await;
    if sent.is_err() {
        wire.worker.metrics().responses_aborted.add(1);
    }
    sent
}

async fn send_all(wire: &mut Wire, plan: &Plan, content: Option<Content>) -> io::Result<()> {
    let worker = Rc::clone(&wire.worker);
    let mut out = worker.take_buffer();
    worker.with_date(|date| plan.write_head(date, &mut out));
    // Without room for it nothing is gathered, and the answer is the same in more pieces.
    let room = gathered_len(&plan.body, content.as_ref());
    let room = room.and_then(|len| worker.site.in_flight.try_take(worker.index, len));
    let may_gather = room.is_some();
    match (plan.body, content) {
        (Body::Text(text), _) => out.extend_from_slice(text.as_bytes()),
        (Body::Range(range), Some(mut content)) => {
            out = content.send(wire, out, range, may_gather).await?;
        }
        (Body::Parts(parts), Some(mut content)) => {
            for (index, &range) in parts.ranges.as_slice().iter().enumerate() {
                parts.write_part_head(index, &mut out);
                out = content.send(wire, out, range, may_gather).await?;
            }
            parts.write_tail(&mut out);
        }
        (Body::Nothing | Body::Range(_) | Body::Parts(_), _) => {}
    }
    if !out.is_empty() {
        out = wire.send(out).await?;
    }
    worker.put_buffer(out);
    Ok(())
}

/// Returns how many bytes of a body may be gathered in memory before they are sent, if any.
fn gathered_len(body: &Body, content: Option<&Content>) -> Option<u64> {
    content?;
    match body {
        Body::Range(range) => Some(range.len()).filter(|&len| len <= GATHER_MAX),
        Body::Parts(_) => Some(GATHER_MAX),
        Body::Nothing | Body::Text(_) => None,
    }
}
