//! Tests of redirects and headers, as sent by the Hub, its mirrors, and proxies in between.

use clipseg_hub::Error;
use clipseg_hub_server::{Reply, Request, is_large};

use crate::support::{Tiny, WEIGHTS, ranges};

/// Whether the answer to this request is the redirect of a small file.
fn is_small_redirect(request: &Request) -> bool {
    request.path.contains("/resolve/") && !is_large(&request.path)
}

#[test]
fn a_first_download_brings_small_files_and_large_ones() {
    let tiny = Tiny::new();
    tiny.succeed();
    let requests = tiny.server.requests();
    assert_eq!(ranges(&requests), [None]);
    assert!(requests.iter().all(|request| !request.path.contains("README")), "{requests:?}");
    // One request for the list. For each of four small files, a `HEAD` and a `GET`, both redirected. For the
    // large file, the redirect itself answers the `HEAD`.
    assert_eq!(requests.len(), 1 + 4 * 4 + 3, "{requests:?}");

    tiny.succeed();
    let requests = tiny.server.requests();
    assert_eq!(requests.len(), 1, "the list alone: {requests:?}");
}

/// Makes the address of a redirect from its path and the endpoint.
type Form = fn(&str, &str) -> String;

/// A redirect within the Hub may have any of these forms.
#[test]
fn redirects_within_the_hub_are_followed_in_every_form() {
    let forms: [(&str, Form); 6] = [
        ("absolute", |location, endpoint| format!("{endpoint}{location}")),
        ("another case", |location, endpoint| format!("{}{location}", endpoint.replace("http", "HTTP"))),
        ("without a scheme", |location, endpoint| {
            format!("{}{location}", endpoint.trim_start_matches("http:"))
        }),
        ("from the folder", |location, _| format!("../../../../{}", location.trim_start_matches('/'))),
        ("with a part", |location, _| format!("{location}#L1-L2")),
        ("padded", |location, _| format!("  {location} ")),
    ];
    for (status, (name, form)) in [301, 302, 303, 307, 308, 307].into_iter().zip(forms) {
        let tiny = Tiny::new();
        let endpoint = tiny.server.endpoint.clone();
        tiny.server.alter(move |request, reply| {
            if is_small_redirect(request) {
                let location = form(reply.header("location").unwrap(), &endpoint);
                reply.remove("Location");
                reply.status = status;
                *reply = reply.clone().with("LOCATION", location);
            }
        });
        tiny.download().unwrap_or_else(|error| panic!("{name}: {error}"));
        tiny.assert_whole();
    }
}

#[test]
fn a_loop_of_redirects_ends() {
    let tiny = Tiny::new();
    tiny.server.alter(|request, reply| {
        if request.path.contains("/resolve") {
            reply.status = 307;
            reply.set("Location", request.path.clone());
        }
    });
    let error = tiny.refuse();
    assert!(matches!(&error, Error::Answer { message, .. } if message.contains("redirects")), "{error}");
    tiny.server.alter(|request, reply| {
        if request.path.contains("/resolve/") {
            reply.set("Location", "gopher://user:secret@host/x");
        }
    });
    let error = tiny.refuse().to_string();
    assert!(error.contains("gopher://host/x") && !error.contains("secret"), "{error}");
}

/// Information in headers that a proxy strips is taken from the content instead.
#[test]
fn headers_that_are_stripped_are_not_needed() {
    let strips: [&[&str]; 5] = [
        &["X-Linked-Size"],
        &["X-Linked-Size", "Content-Length"],
        // Small files get these from the answer after the redirect.
        &["X-Repo-Commit", "Accept-Ranges", "Link", "X-Xet-Hash"],
        &["Content-Length", "Accept-Ranges"],
        &["ETag"],
    ];
    for strip in strips {
        let tiny = Tiny::new();
        tiny.server.alter(move |request, reply| {
            let is_told = request.method == "HEAD" || strip != ["Content-Length", "Accept-Ranges"];
            strip.iter().filter(|_| is_told).for_each(|name| reply.remove(name));
        });
        tiny.download().unwrap_or_else(|error| panic!("{strip:?}: {error}"));
        tiny.assert_whole();
    }
    // If there is no ETag from the Hub, the storage's is used, which is not a checksum of the content.
    let tiny = Tiny::new();
    tiny.server.alter(|_, reply| reply.remove("X-Linked-ETag"));
    tiny.succeed();
    assert!(!tiny.blob(WEIGHTS).exists(), "the storage's ETag is not the checksum");
    // No ETag at all is an error.
    let tiny = Tiny::new();
    tiny.server.alter(|_, reply| ["X-Linked-ETag", "ETag"].into_iter().for_each(|name| reply.remove(name)));
    let error = tiny.refuse();
    assert!(matches!(&error, Error::Answer { message, .. } if message.contains("ETag")), "{error}");
}

#[test]
fn etags_are_read_with_and_without_their_marks() {
    for (before, after) in [("W/\"", "\""), ("", ""), ("\"", "\"")] {
        let tiny = Tiny::new();
        tiny.server.alter(move |_, reply| {
            for name in ["ETag", "X-Linked-ETag"] {
                if let Some(etag) = reply.header(name).map(|etag| etag.trim_matches('"').to_owned()) {
                    reply.set(name, format!("{before}{etag}{after}"));
                }
            }
        });
        tiny.succeed();
        assert!(tiny.blob("config.json").exists() && tiny.blob(WEIGHTS).exists());
    }
    let tiny = Tiny::new();
    tiny.server.alter(|request, reply| {
        if is_small_redirect(request) {
            reply.set("X-Linked-ETag", "\"../../../etc/passwd\"");
        }
    });
    assert!(matches!(tiny.refuse(), Error::Answer { .. }));
}

/// A mirror without redirects sends each file directly, and may know only its own ETags.
#[test]
fn a_plain_mirror_will_do() {
    for etag in ["\"65f0-61c\"", "W/\"abc\""] {
        let tiny = Tiny::new();
        let files = tiny.server.state().files.clone();
        tiny.server.alter(move |request, reply| {
            if let Some((_, name)) = request.path.split_once("/resolve/") {
                let (_, name) = name.split_once('/').unwrap();
                let etag = etag
                    .replace('-', &format!("-{}", files[name].len()))
                    .replace("abc", &format!("abc{}", files[name].len()));
                *reply = Reply::new(200, files[name].clone()).with("ETag", etag);
            }
        });
        tiny.succeed();
    }
}

#[test]
fn bodies_without_a_length_are_read_to_their_end() {
    let tiny = Tiny::new();
    tiny.server.alter(|request, reply| reply.is_chunked = request.method == "GET");
    tiny.succeed();
    // The connection is closed at the end, without a length.
    let tiny = Tiny::new();
    tiny.server.alter(|_, reply| {
        reply.remove("Content-Length");
        reply.remove("X-Linked-Size");
    });
    tiny.succeed();
}

#[test]
fn what_closes_early_is_asked_for_again() {
    let tiny = Tiny::new();
    let mut cuts = 3;
    tiny.server.alter(move |request, reply| {
        if request.path.contains("/vocab.json") && request.path.contains("resolve-cache") && cuts > 0 {
            reply.cut = Some(30_000);
            cuts -= u32::from(request.method == "GET");
        }
    });
    tiny.succeed();
    let requests = tiny.server.requests();
    let parts = requests.iter().filter(|request| {
        request.path.contains("resolve-cache/models/tiny/model")
            && request.method == "GET"
            && request.path.contains("vocab")
    });
    let parts: Vec<_> = parts.map(|request| request.range.as_deref()).collect();
    assert_eq!(parts, [None, Some("bytes=30000-"), Some("bytes=60000-"), Some("bytes=90000-")]);
}

#[test]
fn what_is_packed_against_our_wish_is_unpacked() {
    let tiny = Tiny::new();
    tiny.server.alter(|request, reply| {
        if !request.is_storage && reply.status == 200 && request.path.contains("resolve-cache") {
            reply.body = gzip(&reply.body);
            let length = reply.body.len().to_string();
            reply.set("Content-Length", length);
            reply.set("Content-Encoding", "gzip");
        }
    });
    tiny.succeed();
}

/// A gzip file with uncompressed blocks.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let chunks = bytes.chunks(60_000);
    let last = chunks.len().saturating_sub(1);
    for (index, chunk) in chunks.enumerate() {
        let length = chunk.len() as u16;
        packed.push(u8::from(index == last));
        packed.extend([length.to_le_bytes(), (!length).to_le_bytes()].as_flattened());
        packed.extend(chunk);
    }
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    packed.extend([(!crc).to_le_bytes(), (bytes.len() as u32).to_le_bytes()].as_flattened());
    packed
}

/// A proxy may send a page in place of a file, for instance to make users log in to the network.
#[test]
fn a_page_in_place_of_the_weights_is_refused() {
    let tiny = Tiny::new();
    tiny.server.alter(|request, reply| {
        if request.is_storage {
            *reply = Reply::new(200, "<html>Please log in</html>");
        }
    });
    let error = tiny.refuse();
    assert!(
        matches!(&error, Error::Answer { message, .. } if message.contains("announces 26 bytes")),
        "{error}"
    );
    // What has arrived before is kept.
    tiny.server.mend();
    tiny.server.state().cuts = vec![300_000, 0, 0, 0, 0];
    tiny.refuse();
    tiny.server.alter(|request, reply| {
        if request.is_storage {
            *reply = Reply::new(200, "<html>Please log in</html>");
        }
    });
    tiny.refuse();
    tiny.server.mend();
    tiny.server.requests();
    tiny.succeed();
    assert_eq!(ranges(&tiny.server.requests()), [Some("bytes=300000-")]);
}

#[test]
fn an_endpoint_may_have_a_path_and_slashes_behind() {
    let mut tiny = Tiny::new();
    tiny.settings.endpoint = format!("{}/mirror//", tiny.server.endpoint);
    let files = tiny.server.state().files.clone();
    tiny.server.alter(move |request, reply| {
        assert!(
            request.path.starts_with("/mirror/") && !request.path.starts_with("/mirror//"),
            "{}",
            request.path
        );
        *reply = match request.path.split_once("/resolve/") {
            Some((_, name)) => {
                let bytes = files[name.split_once('/').unwrap().1].clone();
                Reply::new(200, bytes.clone())
                    .with("ETag", format!("\"{}\"", clipseg_hub_server::git_sha1(&bytes)))
            }
            None => {
                let names: Vec<_> =
                    files.keys().map(|name| format!("{{\"rfilename\":\"{name}\"}}")).collect();
                let sha = clipseg_hub_server::MAIN;
                Reply::new(200, format!("{{\"sha\":\"{sha}\",\"siblings\":[{}]}}", names.join(",")))
            }
        };
    });
    tiny.succeed();
}
