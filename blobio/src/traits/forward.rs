//! A reference or a shared or owning pointer to a blob is that blob; every method is forwarded.

use std::future::Future;
use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::sync::Arc;

#[cfg(feature = "executor")]
use super::ReadHow;
use super::{
    BlobHints, BlobMetadata, BlobMetadataAsync, MemoryMapBlob, RandomReadBlob, RandomReadBlobAsync,
};
#[cfg(feature = "executor")]
use crate::async_reader::{Destination, ReadInto};
use crate::mmap::Mapping;

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: BlobMetadata + ?Sized> BlobMetadata for $pointer {
            fn byte_length(&self) -> io::Result<u64> {
                (**self).byte_length()
            }
        }

        impl<T: RandomReadBlob + ?Sized> RandomReadBlob for $pointer {
            fn read_slice(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
                (**self).read_slice(pos, buf)
            }

            fn read(&self, pos: u64, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
                (**self).read(pos, buf)
            }

            fn readv(&self, pos: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (**self).readv(pos, bufs)
            }

            fn read_vec(&self, pos: u64, len: usize) -> io::Result<Vec<u8>> {
                (**self).read_vec(pos, len)
            }

            fn read_exact(&self, pos: u64, buf: &mut [MaybeUninit<u8>]) -> io::Result<()> {
                (**self).read_exact(pos, buf)
            }

            fn readv_all(&self, pos: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<()> {
                (**self).readv_all(pos, bufs)
            }

            fn read_to_end(&self, pos: u64) -> io::Result<Vec<u8>> {
                (**self).read_to_end(pos)
            }
        }

        impl<T: MemoryMapBlob + ?Sized> MemoryMapBlob for $pointer {
            fn mmap(&self, offset: u64, len: usize) -> io::Result<Mapping> {
                (**self).mmap(offset, len)
            }
        }

        impl<T: BlobMetadataAsync + ?Sized> BlobMetadataAsync for $pointer {
            type ByteLengthFuture = T::ByteLengthFuture;

            fn byte_length_async(&self) -> Self::ByteLengthFuture {
                (**self).byte_length_async()
            }
        }

        impl<T: RandomReadBlobAsync + ?Sized> RandomReadBlobAsync for $pointer {
            type ReadFuture<'a, 'b>
                = T::ReadFuture<'a, 'b>
            where
                Self: 'a;
            type ReadVecFuture<'a, 'b, 'bb>
                = T::ReadVecFuture<'a, 'b, 'bb>
            where
                Self: 'a,
                'bb: 'b;
            type ReadOwnedFuture = T::ReadOwnedFuture;

            fn read_async<'a, 'b>(
                &'a self,
                pos: u64,
                buf: &'b mut [MaybeUninit<u8>],
            ) -> Self::ReadFuture<'a, 'b> {
                (**self).read_async(pos, buf)
            }

            fn readv_async<'a, 'b, 'bb>(
                &'a self,
                pos: u64,
                bufs: &'b mut [IoSliceMut<'bb>],
            ) -> Self::ReadVecFuture<'a, 'b, 'bb> {
                (**self).readv_async(pos, bufs)
            }

            fn read_owned_async(
                &self,
                pos: u64,
                len: usize,
                buf: Vec<u8>,
            ) -> Self::ReadOwnedFuture {
                (**self).read_owned_async(pos, len, buf)
            }

            fn hints(&self) -> BlobHints {
                (**self).hints()
            }

            #[cfg(feature = "executor")]
            fn read_into_async(
                &self,
                pos: u64,
                len: usize,
                dest: Destination,
                how: ReadHow,
            ) -> ReadInto {
                (**self).read_into_async(pos, len, dest, how)
            }

            fn read_exact_async(
                &self,
                pos: u64,
                buf: &mut [MaybeUninit<u8>],
            ) -> impl Future<Output = io::Result<()>> {
                (**self).read_exact_async(pos, buf)
            }

            fn readv_all_async(
                &self,
                pos: u64,
                bufs: &mut [IoSliceMut<'_>],
            ) -> impl Future<Output = io::Result<()>> {
                (**self).readv_all_async(pos, bufs)
            }

            fn read_to_end_async(
                &self,
                pos: u64,
            ) -> impl Future<Output = io::Result<Vec<u8>>> {
                (**self).read_to_end_async(pos)
            }
        }
    )*};
}

forward!(&T, Box<T>, Rc<T>, Arc<T>);
