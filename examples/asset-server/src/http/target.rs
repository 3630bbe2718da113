//! The target of a request, and the host that it names.

use super::request::{Method, Refusal, refuse};
use super::status::Status;

/// A path, and a query where there is one.
pub(super) type Target<'b> = (&'b [u8], Option<&'b [u8]>);

/// RFC 9112, 3.2: origin-form, or absolute-form of which only path and query matter here.
pub(super) fn split_target(method: Method, target: &[u8]) -> Result<Target<'_>, Refusal> {
    if method == Method::Other {
        return Ok((target, None));
    }
    let malformed = refuse(Status::BadRequest, "malformed target");
    if target.contains(&b'#') {
        return Err(malformed);
    }
    let origin = if target.starts_with(b"/") {
        target
    } else {
        after_authority(target).ok_or(malformed)?
    };
    let (path, query) = match origin.iter().position(|&byte| byte == b'?') {
        Some(mark) => (&origin[..mark], Some(&origin[mark + 1..])),
        None => (origin, None),
    };
    Ok((if path.is_empty() { b"/" } else { path }, query))
}

fn after_authority(target: &[u8]) -> Option<&[u8]> {
    let rest = ["http://", "https://"].into_iter().find_map(|scheme| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    })?;
    let end = rest
        .iter()
        .position(|byte| b"/?".contains(byte))
        .unwrap_or(rest.len());
    let (authority, origin) = rest.split_at(end);
    let is_valid = !authority.is_empty() && is_host(authority);
    is_valid.then_some(origin)
}

/// RFC 9110, 7.2: a name or an address, and a port if any. It may be empty.
pub(super) fn is_host(host: &[u8]) -> bool {
    let is_name = |name: &[u8]| {
        let mut bytes = name.iter();
        bytes.all(|&byte| is_authority_byte(byte) && !b":[]".contains(&byte))
    };
    let (name, port) = match host.iter().position(|&byte| byte == b']') {
        Some(end) => host.split_at(end + 1),
        None => {
            let end = host.iter().position(|&byte| byte == b':');
            host.split_at(end.unwrap_or(host.len()))
        }
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let is_address = |name: &[u8]| {
        let inner = name
            .strip_prefix(b"[")
            .and_then(|rest| rest.strip_suffix(b"]"));
        inner.is_some_and(|inner| {
            !inner.is_empty() && inner.split(|&byte| byte == b':').all(is_name)
        })
    };
    is_port && (is_name(name) || is_address(name))
}

fn is_authority_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}
