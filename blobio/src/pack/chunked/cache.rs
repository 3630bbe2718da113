//! Pages that were read lately.

use std::sync::{Arc, Mutex, PoisonError};

use super::format::PageRef;
use super::page::{Expected, Page};

/// The pages of one pack, the least recently used going first.
#[derive(Debug)]
pub(super) struct PageCache {
    pages_max: usize,
    /// The most recently used last. Few enough to be searched.
    pages: Mutex<Vec<Cached>>,
}

#[derive(Debug)]
struct Cached {
    at: PageRef,
    expected: Expected,
    page: Arc<Page>,
}

impl PageCache {
    pub(super) fn new(pages_max: usize) -> Self {
        Self {
            pages_max,
            pages: Mutex::default(),
        }
    }

    /// Gives the page, if it is there and was checked to be what is expected now.
    pub(super) fn get(&self, at: PageRef, expected: Expected) -> Option<Arc<Page>> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |cached: &Cached| cached.at == at && cached.expected == expected;
        let index = pages.iter().rposition(is_it)?;
        pages[index..].rotate_left(1);
        pages.last().map(|cached| Arc::clone(&cached.page))
    }

    pub(super) fn put(&self, at: PageRef, expected: Expected, page: &Arc<Page>) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if self.pages_max == 0 {
            return;
        }
        // Two readers may have read it at the same time.
        pages.retain(|cached| cached.at != at);
        if pages.len() >= self.pages_max {
            pages.remove(0);
        }
        pages.push(Cached {
            at,
            expected,
            page: Arc::clone(page),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::PageKind;
    use super::*;

    #[test]
    fn the_least_recently_used_page_goes_first() {
        let at = |position| PageRef { position, len: 56 };
        let expected = Expected {
            kind: PageKind::Table,
            level: Some(0),
            first_row: 0,
        };
        let row = [0; 24];
        let page = |position| {
            let bytes = super::super::builder::table_page(position, &row);
            Arc::new(Page::decode(bytes, at(position), expected).unwrap())
        };
        let cache = PageCache::new(2);
        cache.put(at(1), expected, &page(1));
        cache.put(at(2), expected, &page(2));
        assert!(cache.get(at(1), expected).is_some());
        cache.put(at(3), expected, &page(3));
        assert!(cache.get(at(2), expected).is_none());
        assert!(cache.get(at(1), expected).is_some());
        let other = Expected {
            first_row: 681,
            ..expected
        };
        assert!(cache.get(at(1), other).is_none(), "never checked as that");
    }
}
