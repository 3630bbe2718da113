//! Ranges: RFC 9110, section 14.

use super::{Answer, Case, Expected, WHOLE, WHOLE_HEAD, failure};

const UNSATISFIABLE: Answer = Answer {
    fields: &[
        ("Content-Range", "bytes */1000"),
        ("Accept-Ranges", "bytes"),
    ],
    absent: &["ETag"],
    ..failure(416)
};
const EMPTY: Answer = Answer {
    fields: &[("Content-Length", "0")],
    body: Expected::Nothing,
    ..WHOLE
};

macro_rules! part {
    ($start:literal, $end:literal, $range:literal, $len:literal) => {
        Answer {
            status: 206,
            fields: &[
                ("Content-Range", concat!("bytes ", $range, "/1000")),
                ("Content-Length", $len),
                ("Content-Type", "application/octet-stream"),
                ("ETag", "{etag}"),
                ("Last-Modified", "{date}"),
            ],
            absent: &[],
            body: Expected::Data($start, $end),
            keeps: true,
        }
    };
}

const fn parts(ranges: &'static [(usize, usize)]) -> Answer {
    Answer {
        status: 206,
        fields: &[("ETag", "{etag}"), ("Accept-Ranges", "bytes")],
        absent: &["Content-Range"],
        body: Expected::Parts(ranges),
        keeps: true,
    }
}

macro_rules! range {
    ($name:literal, $value:expr, $answer:expr) => {
        Case {
            name: $name,
            sent: concat!(
                "GET /a/data.bin HTTP/1.1\r\nHost: x\r\nRange: ",
                $value,
                "\r\n\r\n"
            ),
            answers: &[$answer],
        }
    };
}

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    range!("first byte", "bytes=0-0", part!(0, 1, "0-0", "1")),
    range!("some bytes", "bytes=100-299", part!(100, 300, "100-299", "200")),
    range!("all bytes", "bytes=0-999", part!(0, 1000, "0-999", "1000")),
    range!("open", "bytes=990-", part!(990, 1000, "990-999", "10")),
    range!("open from 0", "bytes=0-", part!(0, 1000, "0-999", "1000")),
    range!("suffix", "bytes=-1", part!(999, 1000, "999-999", "1")),
    range!("suffix longer than the file", "bytes=-5000", part!(0, 1000, "0-999", "1000")),
    range!("end beyond the file", "bytes=998-100000", part!(998, 1000, "998-999", "2")),
    range!("end beyond 64 bits", "bytes=998-99999999999999999999999", part!(998, 1000, "998-999", "2")),
    range!("the greatest end", "bytes=998-18446744073709551615", part!(998, 1000, "998-999", "2")),
    range!("unit in capitals", "BYTES=0-0", part!(0, 1, "0-0", "1")),
    range!("leading zeros", "bytes=007-0008", part!(7, 9, "7-8", "2")),

    range!("beyond the file", "bytes=1000-", UNSATISFIABLE),
    range!("beyond the file, closed", "bytes=1000-1001", UNSATISFIABLE),
    range!("beyond 64 bits", "bytes=99999999999999999999999-", UNSATISFIABLE),
    range!("empty suffix", "bytes=-0", UNSATISFIABLE),
    range!("several, all beyond", "bytes=2000-,-0,1000-1000", UNSATISFIABLE),

    range!("no unit", "0-1", WHOLE),
    range!("another unit", "items=0-1", WHOLE),
    range!("no range", "bytes=", WHOLE),
    range!("only commas", "bytes=,,", WHOLE),
    range!("a dash", "bytes=-", WHOLE),
    range!("backwards", "bytes=2-1", WHOLE),
    range!("backwards beyond", "bytes=2000-1999", WHOLE),
    range!("no dash", "bytes=5", WHOLE),
    range!("letters", "bytes=a-b", WHOLE),
    range!("a sign", "bytes=+1-2", WHOLE),
    range!("two dashes", "bytes=1--2", WHOLE),
    range!("space inside", "bytes=1 -2", WHOLE),
    range!("space before the equals sign", "bytes =0-1", WHOLE),
    range!("one wrong among right ones", "bytes=0-1,5-4,8-9", WHOLE),

    range!("two parts", "bytes=0-4,10-19", parts(&[(0, 5), (10, 20)])),
    range!("white space and empty elements", "bytes= 0-4 ,\t, 10-19,", parts(&[(0, 5), (10, 20)])),
    range!("in the order asked for", "bytes=-5,0-0,500-501", parts(&[(995, 1000), (0, 1), (500, 502)])),
    range!("unsatisfiable ones are left out", "bytes=0-0,1000-,5-5", parts(&[(0, 1), (5, 6)])),
    range!("only one satisfiable", "bytes=1000-,5-5", part!(5, 6, "5-5", "1")),
    range!("overlapping", "bytes=0-99,50-149", part!(0, 150, "0-149", "150")),
    range!("adjacent", "bytes=0-99,100-149", part!(0, 150, "0-149", "150")),
    range!("adjacent, backwards", "bytes=100-149,0-99", part!(0, 150, "0-149", "150")),
    range!("one byte between", "bytes=0-98,100-149", parts(&[(0, 99), (100, 150)])),
    range!("the same twice", "bytes=3-7,3-7", part!(3, 8, "3-7", "5")),
    range!("one that joins three", "bytes=0-1,10-11,20-21,50-51,2-19", parts(&[(0, 22), (50, 52)])),
    range!("the whole and more", "bytes=0-,-1,5-6", part!(0, 1000, "0-999", "1000")),
    range!("sixteen parts",
        "bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,30-30",
        parts(&[(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11), (12, 13), (14, 15), (16, 17),
            (18, 19), (20, 21), (22, 23), (24, 25), (26, 27), (28, 29), (30, 31)])),
    range!("seventeen ranges",
        "bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,30-30,32-32", WHOLE),
    range!("seventeen ranges that are one", "bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", WHOLE),

    Case {
        name: "two Range fields",
        sent: "GET /a/data.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=0-0\r\nRange: bytes=1-1\r\n\r\n",
        answers: &[WHOLE],
    },
    Case {
        name: "HEAD has no ranges",
        sent: "HEAD /a/data.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=0-0\r\n\r\n",
        answers: &[WHOLE_HEAD],
    },
    Case {
        name: "HEAD beyond the file",
        sent: "HEAD /a/data.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=5000-\r\n\r\n",
        answers: &[WHOLE_HEAD],
    },
    Case {
        name: "an empty file has no first byte",
        sent: "GET /a/empty.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=0-\r\n\r\n",
        answers: &[Answer { fields: &[("Content-Range", "bytes */0")], ..UNSATISFIABLE }],
    },
    Case {
        name: "a suffix of an empty file is the whole of it",
        sent: "GET /a/empty.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=-5\r\n\r\n",
        answers: &[EMPTY],
    },
    Case {
        name: "a range of nothing",
        sent: "GET /a/nothing HTTP/1.1\r\nHost: x\r\nRange: bytes=5000-\r\n\r\n",
        answers: &[failure(404)],
    },
];
