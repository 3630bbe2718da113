//! How urgent an answer is to the queue of reads.

use blobio::queue::Class;

use crate::http::request::{Head, Method};

/// Answers up to this length go before longer ones, unless the client says otherwise: somebody
/// waits for a header or an index, and nobody notices what they delay.
pub const SMALL_MAX: u64 = 64 * 1024;

/// Chooses the class of the reads for an answer with a body of `len` bytes.
///
/// The client has the word with RFC 9218's urgency: `Priority: u=0` is `Realtime`, 1 and 2 `High`,
/// 3 and 4 `Normal`, 5 to 7 `Low`. Without one, HEAD and small answers are `High` and others
/// `Normal`. Classes share the device by weight, so none shuts another out.
pub fn class(head: &Head<'_>, len: u64) -> Class {
    match urgency(head) {
        Some(0) => Class::Realtime,
        Some(1 | 2) => Class::High,
        Some(3 | 4) => Class::Normal,
        Some(_) => Class::Low,
        None if head.method == Method::Head || len <= SMALL_MAX => Class::High,
        None => Class::Normal,
    }
}

/// Returns the urgency that a request states; `None` where there is none in its `Priority` fields,
/// or one out of range, which RFC 9218 has ignored. The last one counts (RFC 8941, 3.2).
fn urgency(head: &Head<'_>) -> Option<u8> {
    let members = head
        .values("priority")
        .flat_map(|value| value.split(|&byte| byte == b','));
    members.fold(None, |urgency, member| match member.trim_ascii() {
        [b'u', b'=', digit @ b'0'..=b'7'] | [b'u', b'=', digit @ b'0'..=b'7', b';', ..] => {
            Some(digit - b'0')
        }
        [b'u'] | [b'u', b'=' | b';', ..] => None,
        _ => urgency,
    })
}

#[cfg(test)]
mod tests {
    use super::{SMALL_MAX, class};
    use crate::http::request::{HeadLimits, HeadParser, Parsed};
    use blobio::queue::Class::{self, High, Low, Normal, Realtime};

    fn of(method: &str, fields: &str, len: u64) -> Class {
        let text = format!("{method} / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let mut parser = HeadParser::new(HeadLimits::default());
        match parser.parse(text.as_bytes()) {
            Ok(Parsed::Complete { head, .. }) => class(&head, len),
            _ => panic!("{text}"),
        }
    }

    #[test]
    fn short_answers_go_first_without_a_word() {
        assert_eq!(of("GET", "", SMALL_MAX), High);
        assert_eq!(of("GET", "", SMALL_MAX + 1), Normal);
        assert_eq!(of("HEAD", "", SMALL_MAX + 1), High);
    }

    #[test]
    fn the_urgency_of_rfc_9218_counts() {
        for (field, expected) in [
            ("u=0", Realtime),
            ("u=1", High),
            ("u=2", High),
            ("u=3", Normal),
            ("u=4", Normal),
            ("u=5", Low),
            ("u=7", Low),
            ("u=5, i", Low),
            ("i, u=5", Low),
            ("i,u=5 ,x=\"y\"", Low),
            ("u=5;x=1", Low),
            ("u=0, u=7", Low),
        ] {
            assert_eq!(
                of("GET", &format!("Priority: {field}\r\n"), 1),
                expected,
                "{field}"
            );
        }
        let two = "Priority: u=0\r\nPriority: i, u=6\r\n";
        assert_eq!(of("HEAD", two, 1), Low);
    }

    #[test]
    fn what_is_no_urgency_is_ignored() {
        for field in [
            "", "i", "u", "u=", "u=8", "u=-1", "u=05", "U=5", "ux=5", "u =5", "u=5.0",
        ] {
            assert_eq!(
                of("GET", &format!("Priority: {field}\r\n"), 1),
                High,
                "{field}"
            );
        }
    }
}
