//! How much may be in flight: operations and bytes, by class and in all.
//!
//! Pure counting. "No room" is an ordinary answer, in the words that an
//! [`Order`](super::order::Order) understands, and nothing is ever stuck: what is larger than a
//! limit of bytes goes when nothing else counts against that limit.
//!
//! ```
//! use blobio::queue::Class;
//! use blobio::queue::limits::{Bounds, InFlight, Limits};
//! use blobio::queue::order::Admit;
//!
//! let low = Bounds { ops: 1, bytes: 1 << 20 };
//! let mut in_flight = InFlight::new(Limits::default().with_class(Class::Low, low))?;
//!
//! let flight = in_flight.start(Class::Low, 4096);
//! assert_eq!(in_flight.admit(Class::Low, 4096), Admit::ClassFull);
//! assert_eq!(in_flight.admit(Class::High, 4096), Admit::Take);
//! in_flight.finish(flight);
//! assert_eq!(in_flight.admit(Class::Low, 4096), Admit::Take);
//! # Ok::<(), blobio::queue::limits::LimitsError>(())
//! ```

use std::fmt;

use super::order::{Admit, Class};

/// The most that may be in flight at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Operations; 1 or more.
    pub ops: u32,
    /// Bytes; 1 or more.
    pub bytes: u64,
}

/// What may be in flight, by class and in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// By [`Class::index`].
    pub classes: [Bounds; Class::COUNT],
    /// Of all classes together.
    pub all: Bounds,
}

impl Default for Limits {
    /// 64 operations and 32 MiB in all; half of both at most for `Low`, so that what comes next
    /// need not wait for it, and three quarters for `Normal`.
    fn default() -> Self {
        let part = |quarters: u32| Bounds {
            ops: 16 * quarters,
            bytes: u64::from(quarters) * (8 << 20),
        };
        Self {
            classes: [part(4), part(4), part(3), part(2)],
            all: part(4),
        }
    }
}

impl Limits {
    /// Returns these limits with other bounds for one class.
    #[must_use]
    pub fn with_class(mut self, class: Class, bounds: Bounds) -> Self {
        self.classes[class.index()] = bounds;
        self
    }
}

/// A limit of nothing: what it limits would wait for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsError {
    /// The class it limits; `None` for all.
    pub class: Option<Class>,
    /// The bounds as they were given.
    pub bounds: Bounds,
}

impl fmt::Display for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bounds { ops, bytes } = self.bounds;
        match self.class {
            Some(class) => write!(f, "for {class:?}, ")?,
            None => write!(f, "for all classes together, ")?,
        }
        write!(
            f,
            "{ops} operations and {bytes} bytes in flight: both are 1 or more"
        )
    }
}

impl std::error::Error for LimitsError {}

/// An amount of operations and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Operations.
    pub ops: u32,
    /// Bytes.
    pub bytes: u64,
}

/// One operation that counts as in flight until it is given to [`InFlight::finish`].
#[derive(Debug)]
#[must_use = "it counts as in flight until it is given to `finish`"]
pub struct Flight {
    class: Class,
    bytes: u64,
}

impl Flight {
    /// Returns the class that it counts for, whatever has become of its request.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// Returns the bytes that it counts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What is in flight now, and the most that ever was.
#[derive(Debug)]
pub struct InFlight {
    limits: Limits,
    classes: [Meter; Class::COUNT],
    all: Meter,
}

impl InFlight {
    /// Makes counters with nothing in flight.
    ///
    /// # Errors
    ///
    /// Fails on a limit of zero and names it.
    pub fn new(limits: Limits) -> Result<Self, LimitsError> {
        let of_class = |class: Class| (Some(class), limits.classes[class.index()]);
        for (class, bounds) in Class::ALL
            .map(of_class)
            .into_iter()
            .chain([(None, limits.all)])
        {
            if bounds.ops == 0 || bounds.bytes == 0 {
                return Err(LimitsError { class, bounds });
            }
        }
        Ok(Self {
            limits,
            classes: Default::default(),
            all: Meter::default(),
        })
    }

    /// Says whether one more operation may start; has no effect.
    #[must_use]
    #[inline]
    pub fn admit(&self, class: Class, bytes: u64) -> Admit {
        let index = class.index();
        if !self.classes[index].has_room(&self.limits.classes[index], bytes) {
            Admit::ClassFull
        } else if !self.all.has_room(&self.limits.all, bytes) {
            Admit::Full
        } else {
            Admit::Take
        }
    }

    /// Counts an operation as in flight, room or not: that is for [`admit`](Self::admit) to say.
    #[inline]
    pub fn start(&mut self, class: Class, bytes: u64) -> Flight {
        self.classes[class.index()].add(bytes);
        self.all.add(bytes);
        Flight { class, bytes }
    }

    /// Counts an operation as ended.
    ///
    /// # Panics
    ///
    /// Panics when it was started by other counters that had more in flight.
    #[inline]
    pub fn finish(&mut self, flight: Flight) {
        let Flight { class, bytes } = flight;
        self.classes[class.index()].subtract(bytes);
        self.all.subtract(bytes);
    }

    /// Returns the limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns what is in flight of a class.
    #[must_use]
    pub fn of_class(&self, class: Class) -> Usage {
        self.classes[class.index()].now
    }

    /// Returns the most operations and the most bytes of a class that were ever in flight.
    #[must_use]
    pub fn of_class_max(&self, class: Class) -> Usage {
        self.classes[class.index()].max
    }

    /// Returns what is in flight in all.
    #[must_use]
    pub fn of_all(&self) -> Usage {
        self.all.now
    }

    /// Returns the most operations and the most bytes that were ever in flight in all.
    #[must_use]
    pub fn of_all_max(&self) -> Usage {
        self.all.max
    }

    /// Lets the high-water marks begin again at what is in flight now.
    pub fn reset_max(&mut self) {
        for meter in self.classes.iter_mut().chain([&mut self.all]) {
            meter.max = meter.now;
        }
    }
}

/// An amount and its high-water mark.
#[derive(Debug, Default)]
struct Meter {
    now: Usage,
    max: Usage,
}

impl Meter {
    fn has_room(&self, bounds: &Bounds, bytes: u64) -> bool {
        let fits = match self.now.bytes.checked_add(bytes) {
            Some(sum) => sum <= bounds.bytes,
            None => false,
        };
        self.now.ops < bounds.ops && (fits || self.now.ops == 0)
    }

    fn add(&mut self, bytes: u64) {
        self.now.ops += 1;
        self.now.bytes = self.now.bytes.checked_add(bytes).expect("bytes in memory");
        self.max.ops = self.max.ops.max(self.now.ops);
        self.max.bytes = self.max.bytes.max(self.now.bytes);
    }

    fn subtract(&mut self, bytes: u64) {
        let ops = self.now.ops.checked_sub(1);
        let bytes = self.now.bytes.checked_sub(bytes);
        let (Some(ops), Some(bytes)) = (ops, bytes) else {
            panic!("an operation ended that was not counted here");
        };
        self.now = Usage { ops, bytes };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIGHT: Limits = Limits {
        classes: [Bounds { ops: 2, bytes: 100 }; Class::COUNT],
        all: Bounds { ops: 3, bytes: 150 },
    };

    fn tight() -> InFlight {
        InFlight::new(TIGHT).unwrap()
    }

    #[test]
    fn a_class_is_full_before_all_are() {
        let mut in_flight = tight();
        let low = [10, 10].map(|bytes| in_flight.start(Class::Low, bytes));
        assert_eq!(in_flight.admit(Class::Low, 1), Admit::ClassFull);
        let high = in_flight.start(Class::High, 90);
        assert_eq!(
            in_flight.admit(Class::High, 10),
            Admit::Full,
            "three operations"
        );
        assert_eq!(
            in_flight.admit(Class::High, 11),
            Admit::ClassFull,
            "101 bytes"
        );
        in_flight.finish(high);
        for flight in low {
            in_flight.finish(flight);
        }
        assert_eq!(in_flight.of_all(), Usage::default());
        assert_eq!(in_flight.of_all_max(), Usage { ops: 3, bytes: 110 });
        assert_eq!(
            in_flight.of_class_max(Class::Low),
            Usage { ops: 2, bytes: 20 }
        );
        in_flight.reset_max();
        assert_eq!(in_flight.of_all_max(), Usage::default());
    }

    #[test]
    fn bytes_are_counted_to_the_last() {
        let mut in_flight = tight();
        let first = in_flight.start(Class::Low, 60);
        assert_eq!(in_flight.admit(Class::Low, 40), Admit::Take);
        assert_eq!(in_flight.admit(Class::Low, 41), Admit::ClassFull);
        assert_eq!(in_flight.admit(Class::High, 90), Admit::Take);
        assert_eq!(in_flight.admit(Class::High, 91), Admit::Full);
        assert_eq!((first.class(), first.bytes()), (Class::Low, 60));
        in_flight.finish(first);
    }

    #[test]
    fn what_is_larger_than_a_limit_goes_alone() {
        let mut in_flight = tight();
        assert_eq!(in_flight.admit(Class::Low, u64::MAX), Admit::Take);
        let small = in_flight.start(Class::High, 1);
        assert_eq!(
            in_flight.admit(Class::Low, 101),
            Admit::Take,
            "alone of its class"
        );
        assert_eq!(
            in_flight.admit(Class::Low, 151),
            Admit::Full,
            "not alone of all"
        );
        in_flight.finish(small);
        let large = in_flight.start(Class::Low, 1000);
        assert_eq!(in_flight.admit(Class::Low, 0), Admit::ClassFull);
        assert_eq!(in_flight.admit(Class::High, 1), Admit::Full);
        assert_eq!(in_flight.admit(Class::High, u64::MAX), Admit::Full);
        in_flight.finish(large);
        assert_eq!(in_flight.admit(Class::Low, u64::MAX), Admit::Take);
    }

    #[test]
    fn a_limit_of_zero_is_refused_by_name() {
        let bounds = Bounds { ops: 0, bytes: 5 };
        let error = InFlight::new(TIGHT.with_class(Class::High, bounds)).unwrap_err();
        assert_eq!(error.class, Some(Class::High));
        let text = "for High, 0 operations and 5 bytes in flight: both are 1 or more";
        assert_eq!(error.to_string(), text);
        let all = Bounds { ops: 1, bytes: 0 };
        let error = InFlight::new(Limits { all, ..TIGHT }).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("for all classes together, 1 operations and 0")
        );
        assert!(InFlight::new(Limits::default()).is_ok());
    }

    #[test]
    #[should_panic(expected = "an operation ended that was not counted here")]
    fn an_operation_of_other_counters_is_noticed() {
        let flight = tight().start(Class::Low, 1);
        tight().finish(flight);
    }
}
