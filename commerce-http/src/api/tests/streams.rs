//! Tests of streamed responses.

use super::*;
use crate::message::Body;
use std::io::{self, Write};

type Written = io::Result<()>;

/// The response to `GET /v1/things`, which a function writes.
fn respond(
    world: &World,
    method: &str,
    write: impl FnOnce(&mut dyn Write) -> Written + Send + 'static,
) -> Response {
    let request = start::request(method, "/v1/things", &world.admin, &Value::Null);
    let trace = TraceContext::of(&request, &world.api.ids);
    let stream = Success::stream("text/csv; charset=utf-8", write);
    world.api.finish(&request, trace, RequestRecord::start(), stream)
}

fn logged(world: &World) -> Vec<String> {
    std::mem::take(&mut *world.lines.lock().unwrap())
}

/// A client that takes three bytes.
struct Leaves(usize);

impl Write for Leaves {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.0.checked_sub(1);
        self.0 = left.ok_or_else(|| io::Error::other("the client has left"))?;
        Ok(bytes.len().min(1))
    }

    fn flush(&mut self) -> Written {
        Ok(())
    }
}

fn stream_of(response: Response) -> crate::message::Stream {
    match response.body {
        Body::Stream(write) => write,
        Body::Complete(_) => panic!("complete"),
    }
}

#[test]
fn stream_is_logged_and_counted_at_its_end() {
    let world = world();
    let response = respond(&world, "GET", |out| out.write_all("이름\n".as_bytes()));
    let names: Vec<&str> = response.headers.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["Content-Type", "X-Content-Type-Options", "Cache-Control", "X-Request-Id"]);
    assert_eq!(logged(&world), [""; 0]);
    assert_eq!(response.body.collect().unwrap(), "이름\n".as_bytes());
    let lines = logged(&world);
    assert!(lines.len() == 1 && lines[0].contains(" status=200 "), "{lines:?}");
    assert!(lines[0].contains(" bytes=7"), "{lines:?}");
}

#[test]
fn stream_that_fails_is_logged_with_the_error() {
    let world = world();
    let busy = || io::Error::other(Error::from(StoreError::Busy(None)));
    let early = stream_of(respond(&world, "GET", move |_| Err(busy())));
    let instead = early(&mut Vec::new()).unwrap_err();
    let problem: Value = serde_json::from_slice(&instead.body).unwrap();
    assert_eq!((instead.status, &problem["code"]), (503, &json!("busy")));
    assert!(instead.headers.contains(&("Retry-After", "1".into())));
    let late = stream_of(respond(&world, "GET", move |out| {
        out.write_all(b"abc")?;
        Err(io::Error::other("no such page"))
    }));
    assert_eq!(late(&mut Vec::new()).unwrap_err().status, 503);
    let lines = logged(&world);
    assert!(lines[0].contains(" status=503 ") && lines[0].contains(" code=busy"), "{lines:?}");
    assert!(lines[1].contains(" status=503 ") && lines[1].contains(" code=storage"), "{lines:?}");
    assert!(lines[1].contains(" bytes=3") && lines[1].contains("no such page"), "{lines:?}");
}

#[test]
fn client_that_leaves_is_no_failure_of_the_service() {
    let world = world();
    let write = stream_of(respond(&world, "GET", |out| out.write_all(b"abcdef")));
    assert!(write(&mut Leaves(3)).is_err());
    let lines = logged(&world);
    assert!(lines[0].contains(" status=200 ") && lines[0].contains(" bytes=3"), "{lines:?}");
    assert!(lines[0].contains(" detail=\"the client has left\""), "{lines:?}");
}

#[test]
fn head_of_a_stream_is_logged_at_once_and_writes_nothing() {
    let world = world();
    let response = respond(&world, "HEAD", |_| panic!("written"));
    assert!(logged(&world)[0].contains("method=HEAD"));
    assert_eq!(response.body.collect().unwrap(), b"");
}

#[test]
fn streams_beyond_the_limit_are_refused_until_one_ends() {
    let streams = Streams::default();
    let mut places: Vec<_> = (0..4).map(|_| streams.enter().unwrap_or_else(|_| panic!())).collect();
    let refused = streams.clone().enter().err().unwrap();
    assert_eq!(refused.code(), Code::Busy, "{refused}");
    places.pop();
    assert!(streams.enter().is_ok());
}
