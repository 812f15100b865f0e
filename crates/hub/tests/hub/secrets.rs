//! Tests that tokens, passwords and signatures reach only those who need them.

use std::ops::ControlFlow;

use clipseg_hub::{Error, Progress, Token};
use clipseg_hub_server::Reply;

use crate::support::Tiny;

#[test]
fn the_token_goes_to_the_endpoint_alone() {
    let mut tiny = Tiny::new();
    tiny.settings.token = Some(Token::new("hf_secret", "HF_TOKEN").unwrap());
    tiny.server.state().token = Some("Bearer hf_secret".to_owned());
    tiny.succeed();
    for request in tiny.server.requests() {
        assert_eq!(request.authorization.is_some(), !request.is_storage, "{request:?}");
    }
}

#[test]
fn a_redirect_elsewhere_does_not_take_the_token_along() {
    let mut tiny = Tiny::new();
    tiny.settings.token = Some(Token::new("hf_secret", "HF_TOKEN").unwrap());
    let storage = tiny.server.state().storage.clone();
    tiny.server.alter(move |request, reply| {
        if request.is_storage {
            assert_eq!(request.authorization, None);
            *reply = Reply::new(404, "");
        } else {
            *reply = Reply::new(301, "").with("Location", format!("{storage}{}", request.path));
        }
    });
    tiny.refuse();
    assert!(tiny.server.requests().iter().any(|request| request.is_storage));
}

/// A mirror behind a gateway that wants a password.
#[test]
fn a_password_of_the_endpoint_is_sent_and_never_shown() {
    let mut tiny = Tiny::new();
    let host = tiny.server.endpoint.trim_start_matches("http://").to_owned();
    tiny.settings.endpoint = format!("http://user:geheim@{host}");
    // Python does the same: it sends the password, which opens the gateway, and not the token.
    tiny.settings.token = Some(Token::new("hf_secret", "HF_TOKEN").unwrap());
    tiny.server.state().token = Some("Basic dXNlcjpnZWhlaW0=".to_owned());
    tiny.succeed();
    for request in tiny.server.requests() {
        assert_eq!(request.authorization.is_some(), !request.is_storage, "{request:?}");
    }
    let snapshot = tiny.snapshot().unwrap();
    assert!(!format!("{snapshot:?} {:?}", tiny.settings).contains("geheim"));

    for status in [400, 401, 403, 404, 416, 500] {
        tiny.server.state().status = Some(status);
        let mut shown = String::new();
        let mut note = |progress: Progress<'_>| {
            shown += &format!("{progress:?}");
            ControlFlow::Continue(())
        };
        let error = tiny.snapshot_of("tiny/other", &mut note).unwrap_err();
        let text = format!("{error} {error:?} {shown}");
        assert!(text.contains(&host) && !text.contains("geheim"), "{text}");
    }
}

/// In an address, some characters of a password can only be written as their codes.
#[test]
fn a_password_of_the_endpoint_is_decoded_and_may_be_refused() {
    let mut tiny = Tiny::new();
    let host = tiny.server.endpoint.trim_start_matches("http://").to_owned();
    tiny.settings.endpoint = format!("http://us%40er:ge%3Aheim%2F@{host}");
    tiny.server.state().token = Some("Basic dXNAZXI6Z2U6aGVpbS8=".to_owned());
    tiny.succeed();

    tiny.server.state().token = Some("Basic of another".to_owned());
    let error = tiny.refuse();
    assert!(matches!(error, Error::Password { status: 401, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("HF_ENDPOINT") && text.contains(&host) && !text.contains("heim"), "{text}");
    // A repository that only some may see is another matter.
    tiny.server.alter(|_, reply| *reply = Reply::new(403, "").with("X-Error-Code", "GatedRepo"));
    assert!(matches!(tiny.refuse(), Error::Gated { .. }));
}

#[test]
fn signatures_are_not_shown() {
    let tiny = Tiny::new();
    for status in [400, 403, 404, 500] {
        tiny.server.alter(move |request, reply| {
            if request.is_storage {
                let told = "http://user:word@storage/file?X-Amz-Signature=5ec4e7 is closed";
                *reply = Reply::new(status, "").with("X-Error-Message", told).with("Retry-After", "9999");
            }
        });
        let error = tiny.refuse();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("X-Amz") && !text.contains("5ec4e7") && !text.contains("word@"), "{text}");
    }
}
