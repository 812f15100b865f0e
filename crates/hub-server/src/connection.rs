//! Reads requests and writes answers; there is one of each per connection.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::{Reply, Request, State};

/// Answers one request, after which the connection is closed.
pub(crate) fn answer(stream: &TcpStream, state: &Mutex<State>, is_storage: bool) -> Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let Some(first) = lines.next() else { return Ok(()) };
    let first = first?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut request = Request { is_storage, method, path, authorization: None, range: None };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = Some(value),
            "range" => request.range = Some(value),
            _ => {}
        }
    }
    let reply = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        let mut reply = state.reply(&request);
        if let Some(mut hook) = state.hook.take() {
            hook(&request, &mut reply);
            state.hook = Some(hook);
        }
        reply
    };
    send(stream, &request, reply)
}

fn send(mut stream: &TcpStream, request: &Request, mut reply: Reply) -> Result<()> {
    if reply.is_chunked {
        reply.set("Transfer-Encoding", "chunked");
        reply.remove("Content-Length");
    }
    let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if request.method == "GET" {
        let body = &reply.body[..reply.cut.unwrap_or(reply.body.len()).min(reply.body.len())];
        if let Some(pause) = reply.drips {
            for byte in body {
                stream.write_all(&[*byte])?;
                thread::sleep(pause);
            }
        } else if reply.is_chunked {
            for chunk in body.chunks(10_000) {
                write!(stream, "{:x}\r\n", chunk.len())?;
                stream.write_all(chunk)?;
                stream.write_all(b"\r\n")?;
            }
            if reply.cut.is_none() {
                stream.write_all(b"0\r\n\r\n")?;
            }
        } else {
            stream.write_all(body)?;
        }
    }
    if reply.hangs {
        thread::sleep(Duration::from_secs(60));
    }
    Ok(())
}
