//! Messages, methods, targets, connections: RFC 9112.

use super::{Answer, Case, Expected, WHOLE, WHOLE_HEAD, failure, last};

const METHOD: Answer = Answer {
    fields: &[("Allow", "GET, HEAD")],
    ..failure(405)
};
const EMPTY: Answer = Answer {
    fields: &[
        ("Content-Length", "0"),
        ("Content-Type", "application/octet-stream"),
    ],
    body: Expected::Nothing,
    ..WHOLE
};
const KEPT_10: Answer = Answer {
    fields: &[("Connection", "keep-alive")],
    ..WHOLE
};

macro_rules! case {
    ($name:literal, $sent:expr, $($answer:expr),+) => {
        Case { name: $name, sent: $sent, answers: &[$($answer),+] }
    };
}

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    case!("GET", "GET /a/data.bin HTTP/1.1\r\nHost: x\r\n\r\n", WHOLE),
    case!("HEAD gives GET's fields and no body", "HEAD /a/data.bin HTTP/1.1\r\nHost: x\r\n\r\n", WHOLE_HEAD),
    case!("an empty file", "GET /a/empty.bin HTTP/1.1\r\nHost: x\r\n\r\n", EMPTY),
    case!("a percent-encoded path", "GET /a/%64ata%2ebin HTTP/1.1\r\nHost: x\r\n\r\n", WHOLE),
    case!("decoded only once", "GET /a/%2564ata.bin HTTP/1.1\r\nHost: x\r\n\r\n", failure(404)),
    case!("a query does not matter", "GET /a/data.bin?v=1 HTTP/1.1\r\nHost: x\r\n\r\n", WHOLE),
    case!("absolute-form", "GET http://other:80/a/data.bin HTTP/1.1\r\nHost: x\r\n\r\n", WHOLE),
    case!("absolute-form, scheme in capitals", "GET HTTPS://x/a/data.bin?q HTTP/1.1\r\nHost: x\r\n\r\n", WHOLE),
    case!("line feeds alone end lines", "GET /a/data.bin HTTP/1.1\nHost: x\n\n", WHOLE),
    case!("empty lines before the request", "\r\n\r\nGET /a/data.bin HTTP/1.1\r\nHost: x\r\n\r\n", WHOLE),

    case!("not there", "GET /a/nothing HTTP/1.1\r\nHost: x\r\n\r\n", failure(404)),
    case!("not there, HEAD", "HEAD /a/nothing HTTP/1.1\r\nHost: x\r\n\r\n",
        Answer { fields: &[("Content-Length", "14")], body: Expected::Nothing, ..failure(404) }),
    case!("not below /a", "GET /data.bin HTTP/1.1\r\nHost: x\r\n\r\n", failure(404)),
    case!("a file is no folder", "GET /a/data.bin/ HTTP/1.1\r\nHost: x\r\n\r\n", failure(404)),
    case!("a file has no children", "GET /a/data.bin/x HTTP/1.1\r\nHost: x\r\n\r\n", failure(404)),
    case!("missing wins over preconditions", "GET /a/nothing HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\n\r\n", failure(404)),
    case!("..", "GET /a/../data.bin HTTP/1.1\r\nHost: x\r\n\r\n", failure(400)),
    case!(".. encoded", "GET /a/%2e%2E/data.bin HTTP/1.1\r\nHost: x\r\n\r\n", failure(400)),
    case!("an encoded separator", "GET /a/x%2fdata.bin HTTP/1.1\r\nHost: x\r\n\r\n", failure(400)),
    case!("NUL", "GET /a/data.bin%00 HTTP/1.1\r\nHost: x\r\n\r\n", failure(400)),
    case!("backslash", "GET /a/..%5cdata.bin HTTP/1.1\r\nHost: x\r\n\r\n", failure(400)),
    case!("absolute", "GET /a//data.bin HTTP/1.1\r\nHost: x\r\n\r\n", failure(400)),
    case!("broken percent-encoding", "GET /a/data%2 HTTP/1.1\r\nHost: x\r\n\r\n", failure(400)),

    case!("POST", "POST /a/data.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", METHOD),
    case!("DELETE of nothing", "DELETE /a/nothing HTTP/1.1\r\nHost: x\r\n\r\n", METHOD),
    case!("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", METHOD),
    case!("CONNECT", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", METHOD),
    case!("methods have capitals", "get /a/data.bin HTTP/1.1\r\nHost: x\r\n\r\n", METHOD),
    case!("POST with a body that looks like a request",
        "POST /a/data.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 28\r\n\r\nGET /a/data.bin HTTP/1.1\r\n\r\n", last(METHOD)),
    case!("GET with a body that looks like a request",
        "GET /a/data.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 28\r\n\r\nGET /a/data.bin HTTP/1.1\r\n\r\n", last(WHOLE)),
    case!("GET with a chunked body",
        "GET /a/data.bin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", last(WHOLE)),
    case!("GET with an empty body", "GET /a/data.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", WHOLE),
    case!("both framings",
        "GET /a/data.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", last(failure(400))),
    case!("two lengths", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", last(failure(400))),
    case!("a list of lengths", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n", last(failure(400))),
    case!("a signed length", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n", last(failure(400))),
    case!("a length beyond 64 bits", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n", last(failure(400))),
    case!("an unknown transfer coding", "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", last(failure(400))),
    case!("a transfer coding in HTTP/1.0", "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", last(failure(400))),
    case!("a space before the colon", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\n", last(failure(400))),
    case!("a folded line", "GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", last(failure(400))),

    case!("no Host", "GET /a/data.bin HTTP/1.1\r\n\r\n", last(failure(400))),
    case!("two Hosts", "GET /a/data.bin HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", last(failure(400))),
    case!("a broken Host", "GET /a/data.bin HTTP/1.1\r\nHost: x/y\r\n\r\n", last(failure(400))),
    case!("an empty Host", "GET /a/data.bin HTTP/1.1\r\nHost:\r\n\r\n", WHOLE),
    case!("asterisk-form", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", last(failure(400))),
    case!("a relative target", "GET a/data.bin HTTP/1.1\r\nHost: x\r\n\r\n", last(failure(400))),
    case!("a fragment", "GET /a/data.bin#x HTTP/1.1\r\nHost: x\r\n\r\n", last(failure(400))),
    case!("an unknown scheme", "GET ftp://x/a/data.bin HTTP/1.1\r\nHost: x\r\n\r\n", last(failure(400))),
    case!("not HTTP", "hello\r\n\r\n", last(failure(400))),
    case!("HTTP/0.9", "GET /a/data.bin\r\n\r\n", last(failure(400))),
    case!("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", last(failure(505))),
    case!("HTTP/1.2 is read as HTTP/1.1", "GET /a/data.bin HTTP/1.2\r\nHost: x\r\n\r\n", WHOLE),
    case!("HTTP/1.9, HEAD", "HEAD /a/data.bin HTTP/1.9\r\nHost: x\r\n\r\n", WHOLE_HEAD),
    case!("HTTP/1.2 without Host", "GET /a/data.bin HTTP/1.2\r\n\r\n", last(failure(400))),
    case!("HTTP/1.2 with two framings",
        "GET / HTTP/1.2\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", last(failure(400))),
    case!("HTTP/1.2 with a broken line", "GET  / HTTP/1.2\r\nHost: x\r\n\r\n", last(failure(400))),
    case!("HTTP/1.2 with a broken field", "GET / HTTP/1.2\r\nHo st: x\r\n\r\n", last(failure(400))),
    case!("HTTP/1.10 is no version", "GET / HTTP/1.10\r\nHost: x\r\n\r\n", last(failure(400))),
    case!("HTTP/3", "GET / HTTP/3.0\r\nHost: x\r\n\r\n", last(failure(505))),
    case!("not a version", "GET / HTTPS/1.1\r\nHost: x\r\n\r\n", last(failure(400))),

    case!("HTTP/1.0 closes", "GET /a/data.bin HTTP/1.0\r\n\r\n", last(WHOLE)),
    case!("HTTP/1.0 with keep-alive", "GET /a/data.bin HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", KEPT_10),
    case!("HTTP/1.0 with both", "GET /a/data.bin HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", last(WHOLE)),
    case!("close", "GET /a/data.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", last(WHOLE)),
    case!("close among others, on a second line",
        "GET /a/data.bin HTTP/1.1\r\nHost: x\r\nConnection: te\r\nConnection: foo , CLOSE\r\n\r\n", last(WHOLE)),
    case!("a token that contains close", "GET /a/data.bin HTTP/1.1\r\nHost: x\r\nConnection: closed\r\n\r\n", WHOLE),
    case!("nothing is answered after close",
        "GET /a/data.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /a/data.bin HTTP/1.1\r\nHost: x\r\n\r\n", last(WHOLE)),
    case!("pipelined",
        "GET /a/data.bin HTTP/1.1\r\nHost: x\r\n\r\nHEAD /a/data.bin HTTP/1.1\r\nHost: x\r\n\r\nGET /a/no HTTP/1.1\r\nHost: x\r\n\r\nGET /a/data.bin HTTP/1.1\r\nHost: x\r\n\r\n",
        WHOLE, WHOLE_HEAD, failure(404), WHOLE),
    case!("pipelined, then garbage", "GET /a/data.bin HTTP/1.1\r\nHost: x\r\n\r\n\u{1}\u{2}\u{3}\r\n\r\n", WHOLE, last(failure(400))),
];
