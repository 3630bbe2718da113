//! The states of an operation and what each event does: a pure table.

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lifecycle {
    /// Waits for a credit or for room; the backend has not seen it.
    Queued,
    /// The backend owns the memory, and somebody waits for the result.
    Submitted,
    /// The backend owns the memory, and nobody wants the result.
    Ignored,
    /// The last completion has arrived; the result waits to be taken.
    Completed,
}

/// What the driver does with a slot after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Nothing more.
    Keep,
    /// Keep the result and wake who waits for it.
    Deliver,
    /// Drop the result; the slot stays.
    Dispose,
    /// Drop the slot, its memory and any result that was not taken.
    Free,
    /// Ask the backend to stop; the slot stays until the last completion.
    Cancel,
}

impl Lifecycle {
    /// The backend took the request: in `Driver::pump`.
    #[inline]
    pub(crate) fn pushed(self) -> Self {
        debug_assert_eq!(self, Self::Queued);
        Self::Submitted
    }

    /// A completion arrived; `last` when no more follow: in `Driver::dispatch`.
    #[inline]
    pub(crate) fn completed(self, last: bool) -> (Self, Action) {
        match (self, last) {
            (Self::Submitted, true) => (Self::Completed, Action::Deliver),
            (Self::Submitted, false) => (Self::Submitted, Action::Deliver),
            (Self::Ignored, true) => (Self::Ignored, Action::Free),
            (Self::Ignored, false) => (Self::Ignored, Action::Dispose),
            (Self::Queued | Self::Completed, _) => {
                unreachable!("a completion for an operation that is {self:?}")
            }
        }
    }

    /// The future went away: in `Driver::ignore`.
    pub(crate) fn ignored(self) -> (Self, Action) {
        match self {
            Self::Queued | Self::Completed => (self, Action::Free),
            Self::Submitted => (Self::Ignored, Action::Cancel),
            Self::Ignored => (self, Action::Keep),
        }
    }

    /// Says whether the backend may touch the memory.
    #[inline]
    pub(crate) fn is_in_flight(self) -> bool {
        matches!(self, Self::Submitted | Self::Ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_freed_only_when_the_backend_is_done_with_it() {
        assert_eq!(Lifecycle::Queued.ignored().1, Action::Free);
        assert_eq!(Lifecycle::Completed.ignored().1, Action::Free);
        let (ignored, action) = Lifecycle::Submitted.ignored();
        assert_eq!((ignored, action), (Lifecycle::Ignored, Action::Cancel));
        assert_eq!(
            ignored.completed(false),
            (Lifecycle::Ignored, Action::Dispose)
        );
        assert_eq!(ignored.completed(true).1, Action::Free);
    }

    #[test]
    fn a_multishot_operation_stays_submitted_until_its_last_completion() {
        let (state, action) = Lifecycle::Queued.pushed().completed(false);
        assert_eq!((state, action), (Lifecycle::Submitted, Action::Deliver));
        assert_eq!(
            state.completed(true),
            (Lifecycle::Completed, Action::Deliver)
        );
    }

    #[test]
    #[should_panic(expected = "a completion for an operation that is Completed")]
    fn a_completion_after_the_last_is_refused() {
        let _ = Lifecycle::Completed.completed(true);
    }
}
