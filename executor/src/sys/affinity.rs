//! Which cores a thread may run on.
//!
//! `core_affinity` pins to one core of the first 1,024. These calls are what it lacks: reading the
//! mask of another thread (the process's main one) at any size, and restricting to a *set*.
//!
//! # Safety
//!
//! Both system calls get the address and the byte length of one live buffer of whole 64-bit words,
//! which is the layout and alignment of `cpu_set_t`. The kernel keeps neither after the call.
#![allow(
    unsafe_code,
    reason = "sched_getaffinity and sched_setaffinity take a raw mask"
)]

use std::io;

const WORD_BITS: usize = 64;
/// The mask of a distribution kernel: 1,024 cores.
const WORDS_FIRST: usize = 1_024 / WORD_BITS;
/// Far above what a kernel can be built for (8,192), so that growing ends.
const WORDS_MAX: usize = 65_536 / WORD_BITS;

const _: () = assert!(align_of::<u64>() >= align_of::<libc::cpu_set_t>());

/// Reads the cores that the process's main thread may use, in ascending order.
///
/// Falls back to the calling thread when the main thread has exited.
pub(crate) fn process_cores() -> io::Result<Vec<usize>> {
    // The thread id of the main thread is the process id.
    let main_thread = libc::pid_t::try_from(std::process::id())
        .map_err(|_| io::Error::other("the process id does not fit pid_t"))?;
    match cores_of(main_thread) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => thread_cores(),
        cores => cores,
    }
}

/// Reads the cores that the calling thread may use, in ascending order.
pub(crate) fn thread_cores() -> io::Result<Vec<usize>> {
    cores_of(0)
}

/// Restricts the calling thread to `cores`; those the process may not use are left out by the
/// kernel.
///
/// # Errors
///
/// `EINVAL` when none of them can be used.
pub(crate) fn restrict_thread(cores: &[usize]) -> io::Result<()> {
    let last = cores.iter().copied().max().unwrap_or(0);
    if last >= WORDS_MAX * WORD_BITS {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut words = vec![0_u64; (last / WORD_BITS + 1).max(WORDS_FIRST)];
    for core in cores {
        words[core / WORD_BITS] |= 1 << (core % WORD_BITS);
    }
    let byte_len = size_of_val(words.as_slice());
    // SAFETY: the pointer and `byte_len` describe `words`, which outlives the call and is only
    // read; it is aligned as a `cpu_set_t` (asserted above). Thread 0 is the caller.
    let result = unsafe { libc::sched_setaffinity(0, byte_len, words.as_ptr().cast()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Lets the calling thread preempt no other when it becomes ready (`SCHED_BATCH`, sched(7)).
pub(crate) fn batch_thread() -> io::Result<()> {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: `param` is a local that is only read; thread 0 is the caller.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const param) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Builds a fixed-size set of `cores`; `None` when one of them lies behind its 1,024 bits.
pub(crate) fn cpu_set(cores: &[usize]) -> Option<libc::cpu_set_t> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores {
        if core >= 8 * size_of::<libc::cpu_set_t>() {
            return None;
        }
        // SAFETY: the bit is inside of the set, as checked.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    Some(set)
}

fn cores_of(thread: libc::pid_t) -> io::Result<Vec<usize>> {
    let mut words = vec![0_u64; WORDS_FIRST];
    loop {
        let byte_len = size_of_val(words.as_slice());
        // SAFETY: the pointer and `byte_len` describe `words`, exclusively borrowed for the call,
        // aligned as a `cpu_set_t` (asserted above); any bit pattern written is a valid `u64`.
        let result =
            unsafe { libc::sched_getaffinity(thread, byte_len, words.as_mut_ptr().cast()) };
        if result == 0 {
            return Ok(cores_in(&words));
        }
        let error = io::Error::last_os_error();
        // EINVAL: the kernel's mask is longer than this one.
        if error.raw_os_error() != Some(libc::EINVAL) || words.len() >= WORDS_MAX {
            return Err(error);
        }
        words.resize(words.len() * 2, 0);
    }
}

fn cores_in(words: &[u64]) -> Vec<usize> {
    (0..words.len() * WORD_BITS)
        .filter(|core| words[core / WORD_BITS] >> (core % WORD_BITS) & 1 == 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{cores_in, process_cores, restrict_thread, thread_cores};

    #[test]
    fn bits_are_core_numbers() {
        assert_eq!(cores_in(&[0b1001, 1 << 63]), [0, 3, 127]);
    }

    #[test]
    fn a_restricted_thread_leaves_the_process_as_it_was() {
        let before = process_cores().unwrap();
        assert!(!before.is_empty());
        let last = *before.last().unwrap();
        let seen = std::thread::spawn(move || {
            restrict_thread(&[last]).unwrap();
            thread_cores().unwrap()
        });
        assert_eq!(seen.join().unwrap(), [last]);
        assert_eq!(process_cores().unwrap(), before);
    }

    #[test]
    fn no_usable_core_is_einval() {
        for cores in [&[][..], &[usize::MAX][..]] {
            let error = restrict_thread(cores).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }
    }
}
