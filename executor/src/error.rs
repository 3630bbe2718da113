//! Errors on which a caller branches.

use std::error::Error;
use std::fmt;
use std::io;

/// Why a worker or an executor could not be made, and what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// The system refuses io_uring to this process (`EPERM`, `EACCES`).
    Refused {
        /// The call that was refused.
        call: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel has no io_uring, or lacks a feature that is needed.
    Unsupported {
        /// What is missing.
        what: String,
    },
    /// Memory or file descriptors ran out.
    Exhausted {
        /// The call that failed.
        call: &'static str,
        /// Largest number of bytes this process may lock, where known.
        memlock_max: Option<u64>,
        /// Largest number of open files, where known.
        nofile_max: Option<u64>,
        /// The system's answer.
        source: io::Error,
    },
    /// A limit in the configuration is out of range, or in range but no multiple of `min` where
    /// it must be one.
    Config {
        /// The limit's name.
        name: &'static str,
        /// The value given.
        value: u64,
        /// The smallest value that is accepted.
        min: u64,
        /// The largest value that is accepted.
        max: u64,
    },
    /// An environment variable has a value that it cannot have.
    Environment {
        /// The variable's name.
        name: &'static str,
        /// The value found.
        value: String,
        /// The values that are accepted.
        accepted: &'static str,
    },
    /// The workers cannot be placed on the cores that were asked for.
    Placement {
        /// What is wrong with the request.
        reason: String,
    },
    /// Another system call failed.
    System {
        /// The call that failed.
        call: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl SetupError {
    pub(crate) fn config(name: &'static str, value: u64, min: u64, max: u64) -> Self {
        Self::Config {
            name,
            value,
            min,
            max,
        }
    }

    /// Sorts the failure of `call` by its cause.
    pub(crate) fn from_io(call: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Refused { call, source },
            Some(libc::ENOSYS) => Self::Unsupported {
                what: format!("the system call {call}"),
            },
            Some(libc::ENOMEM | libc::EMFILE | libc::ENFILE) => {
                let [memlock_max, nofile_max] = crate::sys::limits();
                Self::Exhausted {
                    call,
                    memlock_max,
                    nofile_max,
                    source,
                }
            }
            _ => Self::System { call, source },
        }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |value: &Option<u64>| match value {
            Some(u64::MAX) => "unlimited".to_owned(),
            Some(value) => value.to_string(),
            None => "unknown".to_owned(),
        };
        match self {
            Self::Refused { call, source } => write!(
                f,
                "{call} was refused ({source}): io_uring is forbidden by a seccomp filter (the \
                 default in many containers), by the sysctl kernel.io_uring_disabled, or by a \
                 security module; allow io_uring_setup, io_uring_enter and io_uring_register"
            ),
            Self::Unsupported { what } => write!(
                f,
                "this kernel does not support {what}: Linux 5.19 or newer with io_uring is needed"
            ),
            Self::Exhausted {
                call,
                memlock_max,
                nofile_max,
                source,
            } => write!(
                f,
                "{call} failed ({source}): locked memory is limited to {} bytes and open files to \
                 {}; raise `ulimit -l` or `ulimit -n`, or ask for fewer queue entries or workers",
                known(memlock_max),
                known(nofile_max)
            ),
            Self::Config {
                name,
                value,
                min,
                max,
            } => {
                let multiple = if (min..=max).contains(&value) {
                    format!("a multiple of {min} ")
                } else {
                    String::new()
                };
                write!(
                    f,
                    "the limit {name} is {value}, but must be {multiple}between {min} and {max}"
                )
            }
            Self::Environment {
                name,
                value,
                accepted,
            } => write!(
                f,
                "the environment variable {name} is {value:?}, but must be {accepted}"
            ),
            Self::Placement { reason } => write!(f, "the workers cannot be placed: {reason}"),
            Self::System { call, source } => write!(f, "{call} failed: {source}"),
        }
    }
}

impl Error for SetupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused { source, .. }
            | Self::Exhausted { source, .. }
            | Self::System { source, .. } => Some(source),
            Self::Unsupported { .. }
            | Self::Config { .. }
            | Self::Environment { .. }
            | Self::Placement { .. } => None,
        }
    }
}

/// Why a worker runs on threads and epoll instead of io_uring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThreadsReason {
    /// [`Config::backend`](crate::Config::backend) asked for it.
    Configured,
    /// The environment variable `CORELANE_BACKEND` asked for it.
    Environment,
    /// The system refuses io_uring to this process.
    Refused {
        /// The call that was refused.
        call: &'static str,
        /// The system's answer.
        errno: i32,
    },
    /// The kernel has no io_uring, or lacks a feature that is needed.
    Missing {
        /// What is missing.
        what: String,
    },
}

impl ThreadsReason {
    /// Says for which failures of a ring's setup threads take over: those that no other limit
    /// would mend.
    pub(crate) fn of_setup(error: &SetupError) -> Option<Self> {
        match error {
            SetupError::Refused { call, source } => Some(Self::Refused {
                call,
                errno: source.raw_os_error().unwrap_or(libc::EPERM),
            }),
            SetupError::Unsupported { what } => Some(Self::Missing { what: what.clone() }),
            // What is asked about the operations is not known: a kernel before 5.6.
            SetupError::System { call, source } if source.raw_os_error() == Some(libc::EINVAL) => {
                Some(Self::Missing {
                    what: (*call).to_owned(),
                })
            }
            _ => None,
        }
    }
}

impl fmt::Display for ThreadsReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("as configured"),
            Self::Environment => f.write_str("as CORELANE_BACKEND says"),
            Self::Refused { call, errno } => {
                write!(f, "as {call} was refused")?;
                match crate::sys::result(errno.wrapping_neg()) {
                    Err(error) => write!(f, ": {error}"),
                    Ok(_) => Ok(()),
                }
            }
            Self::Missing { what } => write!(f, "as this kernel does not support {what}"),
        }
    }
}

impl From<SetupError> for io::Error {
    fn from(error: SetupError) -> Self {
        let kind = error
            .source()
            .and_then(|source| source.downcast_ref::<Self>())
            .map_or(io::ErrorKind::Unsupported, Self::kind);
        Self::new(kind, error)
    }
}
