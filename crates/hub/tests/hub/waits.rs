//! Tests with a Hub that has too many requests, or is out of order for a while.

use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime};

use clipseg_hub::{Error, Progress, Weights};
use clipseg_hub_server::{Reply, Request};

use crate::support::{Tiny, WEIGHTS};

/// Answers the next `count` requests for which `is_meant` holds with `reply`.
fn busy(
    tiny: &Tiny,
    mut count: u32,
    is_meant: fn(&Request) -> bool,
    busy: impl Fn() -> Reply + Send + 'static,
) {
    tiny.server.alter(move |request, reply| {
        if count > 0 && is_meant(request) {
            count -= 1;
            *reply = busy();
        }
    });
}

/// Downloads, asserts that this succeeds, and returns the retries: what was retried, how many times in a row,
/// how long the wait was, and whether the Hub asked for it.
fn waits(tiny: &Tiny) -> Vec<(String, usize, Duration, bool)> {
    let mut waits = Vec::new();
    let mut note = |progress: Progress<'_>| {
        if let Progress::Retries { what, failures, wait, is_asked_for, .. } = progress {
            waits.push((what.to_owned(), failures, wait, is_asked_for));
        }
        ControlFlow::Continue(())
    };
    let snapshot = tiny.snapshot_of("tiny/model", &mut note).unwrap();
    snapshot.download_weights(Weights::Safetensors, &mut note).unwrap();
    tiny.assert_whole();
    waits
}

#[test]
fn the_list_of_files_is_waited_for_as_the_hub_says() {
    let tiny = Tiny::new();
    busy(&tiny, 1, Request::is_listing, || {
        Reply::new(429, "")
            .with("RateLimit", "\"api\";r=0;t=1")
            .with("RateLimit-Policy", "\"fixed window\";\"api\";q=500;w=300")
    });
    let start = Instant::now();
    assert_eq!(waits(&tiny), [("tiny/model".to_owned(), 1, Duration::from_secs(2), true)]);
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[test]
fn files_are_waited_for_as_the_hub_and_its_storage_say() {
    let tiny = Tiny::new();
    busy(
        &tiny,
        2,
        |request| request.path.contains("/resolve/") && request.path.ends_with("config.json"),
        || Reply::new(429, "").with("ratelimit", "\"resolvers\";r=0;t=0"),
    );
    let second = Duration::from_secs(1);
    let expected =
        [("config.json".to_owned(), 1, second, true), ("config.json".to_owned(), 2, second * 2, true)];
    assert_eq!(waits(&tiny), expected);

    let tiny = Tiny::new();
    busy(&tiny, 1, |request| request.is_storage, || Reply::new(503, "").with("Retry-After", "1"));
    assert_eq!(waits(&tiny), [(WEIGHTS.to_owned(), 1, second, true)]);

    let tiny = Tiny::new();
    busy(
        &tiny,
        1,
        |request| request.is_storage,
        || {
            let soon = SystemTime::now() + Duration::from_secs(2);
            Reply::new(500, "").with("Retry-After", httpdate::fmt_http_date(soon))
        },
    );
    let waits = waits(&tiny);
    assert!(waits.len() == 1 && waits[0].2 > second / 2 && waits[0].2 <= second * 2, "{waits:?}");
}

#[test]
fn five_tries_are_enough() {
    let tiny = Tiny::new();
    busy(&tiny, u32::MAX, Request::is_listing, || Reply::new(502, "").with("Retry-After", "0"));
    let error = tiny.refuse();
    assert!(matches!(error, Error::Status { status: 502, .. }), "{error}");
    assert_eq!(tiny.server.requests().len(), 5);
}

/// No user would wait for a day.
#[test]
fn a_wait_beyond_all_patience_is_told_at_once() {
    let tiny = Tiny::new();
    busy(&tiny, u32::MAX, Request::is_listing, || Reply::new(429, "").with("Retry-After", "86400"));
    let start = Instant::now();
    let error = tiny.refuse();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(error.to_string().contains("429") && error.to_string().contains("86400 s"), "{error}");
    assert_eq!(tiny.server.requests().len(), 1);
}

/// A complete cache is used at once; only if it lacks the weights, the Hub is waited for.
#[test]
fn a_whole_cache_does_not_wait() {
    let tiny = Tiny::new();
    tiny.snapshot().unwrap();
    busy(&tiny, 1, Request::is_listing, || Reply::new(503, "").with("Retry-After", "1"));
    assert_eq!(waits(&tiny).len(), 1);
    busy(&tiny, u32::MAX, Request::is_listing, || Reply::new(503, "").with("Retry-After", "60"));
    let snapshot = tiny.snapshot().unwrap();
    assert!(snapshot.unreachable().unwrap().contains("503"));
    snapshot.download_weights(Weights::Safetensors, &mut |_| ControlFlow::Continue(())).unwrap();
}
