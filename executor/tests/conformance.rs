//! One suite for all backends: each case is a function of a backend, and runs on the ring, on
//! threads and epoll, and on the simulated ring with real operations (`SimConfig::system`).
//!
//! A case asserts exact results, or those of the plain system call; so what passes on two backends
//! is the same on both. A failing case is named `backend::case`. Where io_uring is refused, `ring`
//! is what a worker then chooses by itself. `CORELANE_CONFORMANCE_SEED` sets the simulated ring's
//! seed, which is printed.

mod common;
mod support;

#[path = "conformance/ends.rs"]
mod ends;
#[path = "conformance/files.rs"]
mod files;
#[path = "conformance/handles.rs"]
mod handles;
#[path = "conformance/harness.rs"]
mod harness;
#[path = "conformance/ops.rs"]
mod ops;
#[path = "conformance/os.rs"]
mod os;
#[path = "conformance/process.rs"]
mod process;
#[path = "conformance/sockets.rs"]
mod sockets;
#[path = "conformance/special.rs"]
mod special;
#[path = "conformance/streams.rs"]
mod streams;

/// Cases and operations that the simulated ring cannot do, and why.
const SIM_CANNOT: &[(&str, &str)] = &[
    (
        "received_into_provided_buffers",
        "it has no buffer groups: RecvMulti answers ENOBUFS",
    ),
    (
        "a_fifo_opens_when_both_ends_do",
        "its calls on files are made on the worker, which the other end's open would wait for",
    ),
];

/// Makes three tests of each case.
macro_rules! suite {
    ($($file:ident: $($case:ident)*;)*) => {
        /// io_uring, or what is chosen where it is refused.
        mod ring {
            $($(
                #[test]
                fn $case() {
                    crate::harness::run(crate::harness::Kind::Ring, stringify!($case), crate::$file::$case);
                }
            )*)*
        }

        /// Threads and epoll.
        mod threads {
            $($(
                #[test]
                fn $case() {
                    crate::harness::run(crate::harness::Kind::Threads, stringify!($case), crate::$file::$case);
                }
            )*)*
        }

        /// The simulated ring.
        mod sim {
            $($(
                #[test]
                fn $case() {
                    crate::harness::run(crate::harness::Kind::Sim, stringify!($case), crate::$file::$case);
                }
            )*)*
        }

        const CASES: &[&str] = &[$($(stringify!($case)),*),*];
    };
}

suite! {
    files:
        reads_end_where_the_file_ends
        exact_reads_say_what_is_missing
        vectored_reads_of_0_1_and_1500_segments
        vectored_writes_of_0_1_and_1500_segments
        empty_buffers_move_nothing
        offsets_beyond_4_gib_and_holes
        offsets_that_no_file_has
        a_file_truncated_under_its_reader
        a_file_replaced_under_its_reader
        writes_extend_and_appends_go_to_the_end
        files_opened_for_the_other_direction
        modes_of_reading_agree
        flushes_advice_and_metadata
        direct_reads_that_are_not_aligned;
    special:
        directories_are_not_read
        pipes_have_no_positions
        a_fifo_opens_when_both_ends_do
        files_of_proc
        devices
        unreadable_files
        opens_that_fail;
    streams:
        a_reset_connection
        unread_bytes_reset_a_unix_connection
        half_closed_by_the_peer
        half_closed_by_us
        one_byte_at_a_time
        a_shutdown_ends_a_recv
        a_closed_peer_ends_a_send
        both_ways_at_once
        empty_and_many_segments
        a_file_sent_to_a_slow_reader
        received_into_provided_buffers;
    sockets:
        refused_connections
        a_full_backlog_is_waited_for
        a_full_tcp_backlog_is_cancelled
        connections_are_accepted_once
        an_accept_outlives_its_listener
        readiness_of_a_foreign_descriptor;
    ends:
        dropped_before_the_first_poll
        dropped_after_the_first_poll
        dropped_after_some_turns
        forgotten
        aborted
        timed_out
        the_loser_of_a_race
        ended_with_the_worker;
    handles:
        many_clones_of_one_file
        more_operations_than_the_queues_hold
        wakers_of_other_executors
        handles_awaited_on_other_threads;
    process:
        no_descriptors_left
        interrupted_all_the_time;
}

#[test]
fn what_the_simulated_ring_cannot_do_is_in_the_suite() {
    for (name, why) in SIM_CANNOT {
        assert!(CASES.contains(name), "there is no case {name}");
        assert!(!why.is_empty());
    }
}
