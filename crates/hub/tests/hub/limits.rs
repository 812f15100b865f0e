//! Tests of answers that are too slow, too long or endless.

use std::time::{Duration, Instant};

use clipseg_hub::{Error, Limits};
use clipseg_hub_server::{Reply, Request};

use crate::support::{Tiny, WEIGHTS};

const DRIP: Option<Duration> = Some(Duration::from_millis(20));

fn is_small_file(request: &Request) -> bool {
    request.path.contains("resolve-cache")
}

#[test]
fn small_answers_that_drip_are_given_up() {
    for is_meant in [Request::is_listing, is_small_file] {
        let mut tiny = Tiny::new();
        tiny.hurry(300);
        tiny.server.alter(move |request, reply| {
            if is_meant(request) {
                reply.drips = DRIP;
            }
        });
        let start = Instant::now();
        let error = tiny.refuse();
        assert!(matches!(error, Error::Slow { .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}

/// A large file may take as long as bytes keep arriving.
#[test]
fn a_large_file_may_be_slow() {
    let mut tiny = Tiny::new();
    tiny.server.state().files.insert(WEIGHTS.to_owned(), vec![7; 100]);
    tiny.hurry(300);
    tiny.server.alter(|request, reply| {
        if request.is_storage {
            reply.drips = DRIP;
        }
    });
    tiny.succeed();
}

/// How a program says that there is to be no limit.
#[test]
fn times_may_be_as_long_as_there_are() {
    let mut tiny = Tiny::new();
    let [read_timeout, small_file_timeout, max_retry_after] = [Duration::MAX; 3];
    tiny.settings.limits = Limits { read_timeout, small_file_timeout, max_retry_after };
    tiny.succeed();
}

#[test]
fn silence_ends_what_it_interrupts() {
    let mut tiny = Tiny::new();
    tiny.settings.limits.read_timeout = Duration::from_millis(300);
    tiny.server.state().cuts = vec![300_000];
    tiny.server.state().hangs = true;
    let start = Instant::now();
    tiny.succeed();
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn lengths_that_nothing_small_has_are_refused() {
    let tiny = Tiny::new();
    tiny.server.alter(|request, reply| {
        if is_small_file(request) {
            reply.set("Content-Length", "9000000000000000000");
        }
    });
    let error = tiny.refuse();
    assert!(matches!(&error, Error::Answer { message, .. } if message.contains("64 MB")), "{error}");
    tiny.server.alter(|request, reply| {
        if request.is_listing() {
            reply.set("Content-Length", u64::MAX.to_string());
        }
    });
    assert!(matches!(tiny.refuse(), Error::Answer { .. }));
}

#[test]
fn bodies_without_an_end_are_refused() {
    for is_meant in [Request::is_listing, is_small_file] {
        let tiny = Tiny::new();
        tiny.server.alter(move |request, reply| {
            if is_meant(request) {
                let body = vec![b' '; if request.method == "GET" { 70 << 20 } else { 0 }];
                let etag = reply.header("ETag").unwrap_or("\"x\"").to_owned();
                *reply = Reply::new(200, body).with("ETag", etag);
                reply.remove("Content-Length");
            }
        });
        let error = tiny.refuse();
        assert!(matches!(&error, Error::Answer { message, .. } if message.contains("64 MB")), "{error}");
    }
}
