//! The statuses this server answers with.

/// A status this server answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// 200
    Ok,
    /// 206
    PartialContent,
    /// 304
    NotModified,
    /// 400
    BadRequest,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 408
    RequestTimeout,
    /// 412
    PreconditionFailed,
    /// 414
    UriTooLong,
    /// 416
    RangeNotSatisfiable,
    /// 431
    HeaderFieldsTooLarge,
    /// 500
    InternalError,
    /// 503
    ServiceUnavailable,
    /// 505
    VersionNotSupported,
}

impl Status {
    /// Lists every status, in the order of [`Status::index`].
    pub const ALL: [Self; 14] = [
        Self::Ok,
        Self::PartialContent,
        Self::NotModified,
        Self::BadRequest,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::PreconditionFailed,
        Self::UriTooLong,
        Self::RangeNotSatisfiable,
        Self::HeaderFieldsTooLarge,
        Self::InternalError,
        Self::ServiceUnavailable,
        Self::VersionNotSupported,
    ];

    /// Returns the position in [`Status::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Returns the three digits.
    pub fn code(self) -> u16 {
        let digits = self.text().bytes().take(3);
        digits.fold(0, |code, digit| code * 10 + u16::from(digit - b'0'))
    }

    /// Returns code and reason as the line of text that an error's body is.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ok => "200 OK\n",
            Self::PartialContent => "206 Partial Content\n",
            Self::NotModified => "304 Not Modified\n",
            Self::BadRequest => "400 Bad Request\n",
            Self::NotFound => "404 Not Found\n",
            Self::MethodNotAllowed => "405 Method Not Allowed\n",
            Self::RequestTimeout => "408 Request Timeout\n",
            Self::PreconditionFailed => "412 Precondition Failed\n",
            Self::UriTooLong => "414 URI Too Long\n",
            Self::RangeNotSatisfiable => "416 Range Not Satisfiable\n",
            Self::HeaderFieldsTooLarge => "431 Request Header Fields Too Large\n",
            Self::InternalError => "500 Internal Server Error\n",
            Self::ServiceUnavailable => "503 Service Unavailable\n",
            Self::VersionNotSupported => "505 HTTP Version Not Supported\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn indices_and_codes_are_distinct_and_ordered() {
        for (position, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(status.index(), position);
            assert!(status.text().ends_with('\n'));
        }
        let codes = Status::ALL.map(Status::code);
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
    }
}
