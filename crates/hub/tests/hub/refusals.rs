//! Tests of refusals by the Hub and its storage, and how their reasons are told apart.

use std::ops::ControlFlow;

use clipseg_hub::{Error, Token};
use clipseg_hub_server::Reply;

use crate::support::{Tiny, WEIGHTS, ranges};

#[test]
fn an_address_that_the_storage_refuses_is_asked_for_anew() {
    for refusals in [1, 2] {
        let tiny = Tiny::new();
        let mut left = refusals;
        tiny.server.alter(move |request, reply| {
            if request.is_storage && left > 0 {
                left -= 1;
                *reply = Reply::new(
                    403,
                    "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
                );
            }
        });
        tiny.succeed();
        assert_eq!(ranges(&tiny.server.requests()).len(), refusals + 1);
    }
}

#[test]
fn a_download_goes_on_where_its_address_expired() {
    let tiny = Tiny::new();
    tiny.server.state().cuts = vec![300_000];
    let mut count = 0;
    tiny.server.alter(move |request, reply| {
        count += u32::from(request.is_storage);
        if request.is_storage && count == 2 {
            *reply = Reply::new(403, "");
        }
    });
    tiny.succeed();
    let part = Some("bytes=300000-");
    assert_eq!(ranges(&tiny.server.requests()), [None, part, part]);
}

#[test]
fn a_storage_that_stays_closed_is_named() {
    let tiny = Tiny::new();
    tiny.server.alter(|request, reply| {
        if request.is_storage {
            *reply = Reply::new(403, "");
        }
    });
    let error = tiny.refuse();
    let storage = tiny.server.state().storage.trim_start_matches("http://").to_owned();
    assert!(
        matches!(&error, Error::Storage { file, host, status: 403 } if file == WEIGHTS && *host == storage),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(!text.contains("private") && !text.contains("X-Amz"), "{text}");
    assert_eq!(ranges(&tiny.server.requests()).len(), 3);
}

#[test]
fn gated_and_missing_are_told_apart() {
    let mut tiny = Tiny::new();
    let refuse = |status, code: &'static str| {
        move |_: &clipseg_hub_server::Request, reply: &mut Reply| {
            *reply = Reply::new(status, "{}").with("X-Error-Code", code).with("X-Error-Message", "so it is");
        }
    };
    tiny.server.alter(refuse(401, "GatedRepo"));
    let error = tiny.refuse();
    assert!(matches!(error, Error::Gated { status: 401, with_token: false, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("gated") && text.contains("HF_TOKEN") && text.contains("so it is"), "{text}");

    tiny.settings.token = Some(Token::new("hf_secret", "HF_TOKEN").unwrap());
    tiny.server.alter(refuse(403, "GatedRepo"));
    let error = tiny.refuse();
    assert!(matches!(error, Error::Gated { status: 403, with_token: true, .. }), "{error:?}");
    assert!(error.to_string().contains("accept the conditions"), "{error}");

    for (status, code) in [(404, "RepoNotFound"), (401, "RepoNotFound"), (404, "RevisionNotFound")] {
        tiny.server.alter(refuse(status, code));
        let error = tiny.refuse();
        assert!(matches!(error, Error::NotFound { status: found, .. } if found == status), "{error:?}");
    }
    tiny.server.mend();
    let mut missing = |token: Option<&str>| {
        tiny.settings.token = token.map(|token| Token::new(token, "HF_TOKEN").unwrap());
        tiny.snapshot_of("tiny/none", &mut |_| ControlFlow::Continue(())).unwrap_err()
    };
    assert!(matches!(missing(None), Error::Denied { status: 401, with_token: false, .. }));
    assert!(matches!(missing(Some("hf_secret")), Error::NotFound { status: 404, .. }));
    // Gated only at the file: the list of files may be public.
    tiny.settings.token = None;
    tiny.server.alter(|request, reply| {
        if request.path.contains("/resolve/") {
            *reply = Reply::new(401, "").with("X-Error-Code", "GatedRepo");
        }
    });
    assert!(matches!(tiny.refuse(), Error::Gated { .. }));
}
