//! Requests as any client may send them: method, path, query, headers, body.
#![no_main]

use std::cell::RefCell;

use http::Request;
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use pgop_sandbox_fuzz::{ask, server};
use pgop_sandbox_server::Server;

/// Requests change what is there. It must not grow for ever.
const UNTIL_RENEWED: u32 = 1000;

thread_local! {
    static SERVER: RefCell<(Server, u32)> = RefCell::new((server(), 0));
}

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (line, body) = input.split_at(end);
    let Ok(line) = std::str::from_utf8(line) else { return };
    let mut words = line.splitn(4, ' ');
    let [Some(method), Some(media), Some(accept), Some(path)] = std::array::from_fn(|_| words.next()) else {
        return;
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media)
        .header("accept", accept)
        .body(Full::from(body.get(1..).unwrap_or_default().to_vec()));
    let Ok(request) = request else { return };
    SERVER.with_borrow_mut(|(server, asked)| {
        ask(server, request);
        *asked += 1;
        if *asked == UNTIL_RENEWED {
            (*server, *asked) = (pgop_sandbox_fuzz::server(), 0);
        }
    });
});
