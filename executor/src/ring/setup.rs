//! Setting a ring up: the ladder of flags, what is required, and one round trip as the proof.
//!
//! # Safety
//!
//! The only submission pushed here is a no-op, which refers to no memory.
#![allow(unsafe_code, reason = "a no-op is pushed to prove that the ring works")]

use std::fmt;
use std::io;
use std::marker::PhantomData;

use io_uring::{IoUring, Probe, opcode};

use super::{Ring, Wait, sqe};
use crate::config::Config;
use crate::error::SetupError;
use crate::trace;

/// Which setup flags the kernel accepted: the rungs of the ladder, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rung {
    /// `SINGLE_ISSUER`, `DEFER_TASKRUN`, `TASKRUN_FLAG`, `SUBMIT_ALL`, `NO_SQARRAY` (Linux 6.6).
    DeferNoSqArray,
    /// The same without `NO_SQARRAY` (Linux 6.1).
    Defer,
    /// `SINGLE_ISSUER`, `COOP_TASKRUN`, `TASKRUN_FLAG`, `SUBMIT_ALL` (Linux 6.0).
    CoopSingleIssuer,
    /// `COOP_TASKRUN`, `TASKRUN_FLAG`, `SUBMIT_ALL` (Linux 5.19).
    Coop,
    /// No flags but the size of the completion queue.
    Plain,
}

impl Rung {
    pub(crate) const LADDER: [Self; 5] = [
        Self::DeferNoSqArray,
        Self::Defer,
        Self::CoopSingleIssuer,
        Self::Coop,
        Self::Plain,
    ];

    fn build(self, config: &Config) -> io::Result<IoUring> {
        let mut builder = IoUring::builder();
        builder
            .dontfork()
            .setup_cqsize(config.cq_entries)
            .setup_clamp();
        match self {
            Self::DeferNoSqArray => {
                builder
                    .setup_single_issuer()
                    .setup_defer_taskrun()
                    .setup_no_sqarray();
                builder.setup_taskrun_flag().setup_submit_all();
            }
            Self::Defer => {
                builder.setup_single_issuer().setup_defer_taskrun();
                builder.setup_taskrun_flag().setup_submit_all();
            }
            Self::CoopSingleIssuer => {
                builder.setup_single_issuer().setup_coop_taskrun();
                builder.setup_taskrun_flag().setup_submit_all();
            }
            Self::Coop => {
                builder
                    .setup_coop_taskrun()
                    .setup_taskrun_flag()
                    .setup_submit_all();
            }
            Self::Plain => {}
        }
        builder.build(config.sq_entries)
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeferNoSqArray => "single_issuer+defer_taskrun+no_sqarray",
            Self::Defer => "single_issuer+defer_taskrun",
            Self::CoopSingleIssuer => "single_issuer+coop_taskrun",
            Self::Coop => "coop_taskrun",
            Self::Plain => "plain",
        })
    }
}

impl Ring {
    /// Sets a ring up on the calling thread, which owns it from then on.
    ///
    /// # Errors
    ///
    /// Says by its variant whether io_uring is refused, missing, too old or out of memory.
    pub(crate) fn open(config: &Config) -> Result<Self, SetupError> {
        let (inner, rung) = climb(config)?;
        require_features(&inner)?;
        require_opcodes(&inner)?;
        let no_iowait = inner.params().is_feature_no_iowait();
        let mut ring = Self {
            inner,
            rung,
            no_iowait,
            _not_send: PhantomData,
        };
        ring.limit_helpers(config);
        ring.round_trip()?;
        Ok(ring)
    }

    /// Bounds the kernel's helper threads. A kernel without the call (before 5.15) keeps its own
    /// bounds, which is no reason to fail.
    fn limit_helpers(&self, config: &Config) {
        let mut max = config.iowq_workers_max;
        let _ = self.inner.submitter().register_iowq_max_workers(&mut max);
    }

    /// Lets the kernel's helper threads run on `cpus` rather than on the ring's own core.
    pub(crate) fn place_helpers(&self, cpus: &libc::cpu_set_t) -> io::Result<()> {
        self.inner.submitter().register_iowq_aff(cpus)
    }

    /// Sends a no-op through: setup may be allowed where enter is not.
    fn round_trip(&mut self) -> Result<(), SetupError> {
        const PROBE: u64 = u64::MAX;
        let nop = sqe::nop().user_data(PROBE);
        // SAFETY: a no-op refers to nothing.
        let pushed = unsafe { self.inner.submission().push(&nop.0) };
        if pushed.is_err() {
            return Err(SetupError::Unsupported {
                what: "a submission queue with room".into(),
            });
        }
        let mut cqes = Vec::with_capacity(1);
        while self.reap(&mut cqes) == 0 {
            self.enter(Wait::Completion)
                .map_err(|error| SetupError::from_io("io_uring_enter", error))?;
        }
        if cqes[0].user_data == PROBE && cqes[0].result == 0 {
            Ok(())
        } else {
            Err(SetupError::Unsupported {
                what: format!("a no-op: it answered {:?}", cqes[0]),
            })
        }
    }
}

/// Tries the rungs from the best; only `EINVAL`, an unknown flag, leads to the next.
fn climb(config: &Config) -> Result<(IoUring, Rung), SetupError> {
    let mut last = io::Error::from_raw_os_error(libc::EINVAL);
    for rung in Rung::LADDER {
        match rung.build(config) {
            Ok(ring) => return Ok((ring, rung)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                trace::rung_refused(&rung, &error);
                last = error;
            }
            Err(error) => return Err(SetupError::from_io("io_uring_setup", error)),
        }
    }
    Err(SetupError::System {
        call: "io_uring_setup on every rung of the ladder",
        source: last,
    })
}

fn require_features(ring: &IoUring) -> Result<(), SetupError> {
    let params = ring.params();
    let required = [
        ("IORING_FEAT_NODROP", params.is_feature_nodrop()),
        (
            "IORING_FEAT_SUBMIT_STABLE",
            params.is_feature_submit_stable(),
        ),
        ("IORING_FEAT_EXT_ARG", params.is_feature_ext_arg()),
        ("IORING_FEAT_FAST_POLL", params.is_feature_fast_poll()),
    ];
    match required.into_iter().find(|(_, present)| !present) {
        Some((name, _)) => Err(SetupError::Unsupported { what: name.into() }),
        None => Ok(()),
    }
}

fn require_opcodes(ring: &IoUring) -> Result<(), SetupError> {
    const REQUIRED: [(&str, u8); 16] = [
        ("READ", opcode::Read::CODE),
        ("WRITE", opcode::Write::CODE),
        ("READV", opcode::Readv::CODE),
        ("WRITEV", opcode::Writev::CODE),
        ("READ_FIXED", opcode::ReadFixed::CODE),
        ("FSYNC", opcode::Fsync::CODE),
        ("OPENAT2", opcode::OpenAt2::CODE),
        ("STATX", opcode::Statx::CODE),
        ("CLOSE", opcode::Close::CODE),
        ("ACCEPT", opcode::Accept::CODE),
        ("CONNECT", opcode::Connect::CODE),
        ("RECV", opcode::Recv::CODE),
        ("SEND", opcode::Send::CODE),
        ("SENDMSG", opcode::SendMsg::CODE),
        ("POLL_ADD", opcode::PollAdd::CODE),
        ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
    ];
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| SetupError::from_io("io_uring_register", error))?;
    match REQUIRED
        .into_iter()
        .find(|(_, code)| !probe.is_supported(*code))
    {
        Some((name, _)) => Err(SetupError::Unsupported {
            what: format!("IORING_OP_{name}"),
        }),
        None => Ok(()),
    }
}
