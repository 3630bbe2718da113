//! A value of any type as plain words: what a slot keeps while the kernel owns the memory.
//!
//! The words are not a typed value, so moving them neither asserts uniqueness (as moving a `Box`
//! does) nor aliases what the kernel writes behind.
//!
//! # Safety
//!
//! The words hold either a `T` or a pointer to a boxed `T`, decided by [`fits`] from the type
//! alone; the table is the one made for the same `T`. A [`Loose`] always holds its value.
#![allow(unsafe_code, reason = "storing a value as untyped words")]

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop, MaybeUninit};
use std::ptr;

/// Words that a value may take before it is boxed: a `Slice` of a four-word buffer.
const WORDS: usize = 6;

type Words = [MaybeUninit<*mut ()>; WORDS];

/// An owned value of an erased type.
pub(crate) struct Erased {
    words: Words,
    vtable: &'static Vtable,
}

/// What is known of the type.
struct Vtable {
    release: unsafe fn(&mut Words),
    type_id: fn() -> TypeId,
}

/// Makes the table of a type, which is promoted to a static where it is borrowed.
struct Of<T>(PhantomData<T>);

impl<T: 'static> Of<T> {
    const VTABLE: Vtable = Vtable {
        release: release::<T>,
        type_id: TypeId::of::<T>,
    };
}

/// A value that is about to be erased: as bytes already, so that it may be described where it is, and
/// moved afterwards without being moved as a value of its type.
pub(crate) struct Loose<T>(MaybeUninit<T>);

impl<T> Loose<T> {
    #[inline]
    pub(crate) const fn new(value: T) -> Self {
        Self(MaybeUninit::new(value))
    }

    /// Borrows the value in place.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        // SAFETY: it holds its value until it is dropped or consumed.
        unsafe { self.0.assume_init_mut() }
    }
}

impl<T> Drop for Loose<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: it holds its value, which is not used again.
        unsafe { self.0.assume_init_drop() };
    }
}

const fn fits<T>() -> bool {
    size_of::<T>() <= size_of::<Words>() && align_of::<T>() <= align_of::<Words>()
}

impl Erased {
    #[cfg(any(test, corelane_planted = "free_on_drop"))]
    #[inline]
    pub(crate) fn new<T: 'static>(value: T) -> Self {
        Self::of(Loose::new(value))
    }

    /// Erases a value, moving its bytes alone: addresses that were asked of it stay good.
    #[inline(always)]
    pub(crate) fn of<T: 'static>(value: Loose<T>) -> Self {
        let value = ManuallyDrop::new(value);
        // SAFETY: a copy of plain bytes, as its type says; the original is neither used nor dropped.
        let bytes = unsafe { ptr::read(&raw const value.0) };
        let mut words: Words = [MaybeUninit::uninit(); WORDS];
        if fits::<T>() {
            // SAFETY: the type fits into the words by size and alignment.
            unsafe { words.as_mut_ptr().cast::<MaybeUninit<T>>().write(bytes) };
        } else {
            words[0] = MaybeUninit::new(Box::into_raw(Box::new(bytes)).cast());
        }
        Self {
            words,
            vtable: &Of::<T>::VTABLE,
        }
    }

    /// Borrows the value in place.
    ///
    /// # Panics
    ///
    /// Panics when the value is of another type.
    #[inline]
    pub(crate) fn get_mut<T: 'static>(&mut self) -> &mut T {
        self.check::<T>();
        let ptr = locate::<T>(&mut self.words);
        // SAFETY: the words hold a T, and the reference borrows `self` exclusively.
        unsafe { &mut *ptr }
    }

    /// Takes the value out of its place.
    ///
    /// # Panics
    ///
    /// Panics when the place is empty, or the value of another type.
    #[inline]
    pub(crate) fn take_from<T: 'static>(place: &mut Option<Self>) -> T {
        let erased = place.as_mut().expect("an operation's memory is taken once");
        erased.check::<T>();
        let ptr = locate::<T>(&mut erased.words);
        let value = if fits::<T>() {
            // SAFETY: the words hold a T; they are forgotten below, so it is read once.
            unsafe { ptr.read() }
        } else {
            // SAFETY: the pointer came from Box::into_raw, and is forgotten below.
            *unsafe { Box::from_raw(ptr) }
        };
        mem::forget(place.take());
        value
    }

    /// One table per type is the rule, which makes the answer one comparison; a type may have
    /// several.
    #[inline]
    fn check<T: 'static>(&self) {
        assert!(
            ptr::eq(self.vtable, &Of::<T>::VTABLE) || (self.vtable.type_id)() == TypeId::of::<T>(),
            "an operation's memory has another type"
        );
    }
}

impl Drop for Erased {
    fn drop(&mut self) {
        // SAFETY: the words hold the type that `release` was made for, and are dropped once.
        unsafe { (self.vtable.release)(&mut self.words) };
    }
}

impl fmt::Debug for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Erased")
    }
}

#[inline]
fn locate<T>(words: &mut Words) -> *mut T {
    if fits::<T>() {
        words.as_mut_ptr().cast()
    } else {
        // SAFETY: a type that does not fit is stored as a pointer in the first word.
        unsafe { words[0].assume_init() }.cast()
    }
}

unsafe fn release<T>(words: &mut Words) {
    let ptr = locate::<T>(words);
    if fits::<T>() {
        // SAFETY: the caller promises that the words hold a T that is not used again.
        unsafe { ptr.drop_in_place() };
    } else {
        // SAFETY: the caller promises the same; the pointer came from Box::into_raw.
        drop(unsafe { Box::from_raw(ptr) });
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn small_and_large_values_come_back_and_are_dropped_once() {
        let count = Rc::new(());
        let small = Erased::new((Rc::clone(&count), 7u8));
        let large = Erased::new((Rc::clone(&count), [9u64; 32]));
        let aligned = Erased::new(Box::new((Rc::clone(&count), 1u128)));
        assert_eq!(Rc::strong_count(&count), 4);
        let mut small = Some(small);
        assert_eq!(Erased::take_from::<(Rc<()>, u8)>(&mut small).1, 7);
        let mut large = large;
        large.get_mut::<(Rc<()>, [u64; 32])>().1[31] = 3;
        drop(large);
        let mut place = Some(aligned);
        type Aligned = Box<(Rc<()>, u128)>;
        assert_eq!(Erased::take_from::<Aligned>(&mut place).1, 1);
        assert!(place.is_none());
        assert_eq!(Rc::strong_count(&count), 1);
    }

    #[test]
    #[should_panic(expected = "another type")]
    fn another_type_is_refused() {
        Erased::take_from::<u64>(&mut Some(Erased::new(1u32)));
    }
}
