//! The directory of a pack: both trees, the table, and last the header.

use std::io::{Seek, SeekFrom, Write};

use super::super::entry::{Content, Layout};
use super::super::error::PackErrorKind;
use super::super::format::{
    HEAD_LEN, HEADER_LEN, Header, PAGE_LEN_MAX, PageRef, ROWS_PER_PAGE, Row,
};
use super::super::page::PageKind;
use super::tree;
use super::writer::{PackOutput, PackWriter, Summary};

/// The most bytes of the head that the root of the tree of paths takes.
const PATH_ROOT_MAX: usize = 10 << 10;

impl<W: PackOutput> PackWriter<W> {
    pub(super) fn write_directory(&mut self) -> Result<Summary, PackErrorKind> {
        let data_end = self.position;
        let paths = std::mem::take(&mut self.paths);
        let contents = std::mem::take(&mut self.contents);
        let path_root = PageRef {
            position: HEADER_LEN as u64,
            len: 0,
        };
        let by_path = paths.iter().map(|(path, number)| {
            let content = &contents[*number];
            let mut value = content.hash().as_bytes().to_vec();
            content.encode(&mut value);
            (path.as_bytes(), value)
        });
        let (paths_bytes, path_root) =
            self.write_tree(PageKind::Paths, by_path, PATH_ROOT_MAX, path_root.position)?;
        let mut sorted: Vec<&Content> = contents.iter().collect();
        sorted.sort_unstable_by_key(|content| content.hash());
        let by_hash = sorted.into_iter().map(|content| {
            let mut value = Vec::new();
            content.encode(&mut value);
            (&content.hash_ref()[..], value)
        });
        let position = path_root.position + u64::from(path_root.len);
        let room = HEAD_LEN - HEADER_LEN - paths_bytes.len();
        let (hashes_bytes, hash_root) =
            self.write_tree(PageKind::Hashes, by_hash, room, position)?;
        let table_position = self.position;
        self.write_table()?;
        let header = Header {
            features_required: self.features,
            block_len_log2: log2(self.options.block_len),
            align_log2: log2(self.options.align),
            file_len: self.position,
            data_end,
            entry_count: paths.len() as u64,
            content_count: contents.len() as u64,
            row_count: self.rows.len() as u64,
            table_position,
            path_root,
            hash_root,
            content_len: contents.iter().map(Content::len).sum(),
        };
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header.encode())?;
        self.out.write_all(&paths_bytes)?;
        self.out.write_all(&hashes_bytes)?;
        self.out.flush()?;
        let entries_len = paths.values().map(|number| contents[*number].len()).sum();
        Ok(self.summary(&header, entries_len, &contents))
    }

    fn summary(&self, header: &Header, entries_len: u64, contents: &[Content]) -> Summary {
        let singles = contents
            .iter()
            .filter_map(|content| match content.layout() {
                Layout::Single(row) => Some(row.position),
                _ => None,
            });
        let mut blocks: Vec<u64> = self.rows.iter().map(|row| row.position).collect();
        blocks.extend(singles);
        blocks.sort_unstable();
        blocks.dedup();
        Summary {
            entries: header.entry_count,
            contents: header.content_count,
            blocks: blocks.len() as u64,
            entries_len,
            contents_len: header.content_len,
            stored_len: self.progress.stored_len,
            file_len: header.file_len,
        }
    }

    fn write_tree<'a>(
        &mut self,
        kind: PageKind,
        records: impl Iterator<Item = (&'a [u8], Vec<u8>)>,
        root_max: usize,
        root_position: u64,
    ) -> Result<(Vec<u8>, PageRef), PackErrorKind> {
        let root = tree::build(kind, records, root_max, root_position, &mut |encode| {
            let position = self.position;
            let page = encode(position);
            self.put(&page)?;
            let len = u32::try_from(page.len()).expect("a page is short");
            Ok(PageRef { position, len })
        })?;
        let len = u32::try_from(root.len()).expect("a page is short");
        let at = PageRef {
            position: root_position,
            len,
        };
        Ok((root, at))
    }

    fn write_table(&mut self) -> Result<(), PackErrorKind> {
        let rows = std::mem::take(&mut self.rows);
        let begin = self.position;
        for (number, rows) in rows.chunks(ROWS_PER_PAGE).enumerate() {
            let position = begin + (number * PAGE_LEN_MAX) as u64;
            let gap = usize::try_from(position - self.position).expect("a few bytes");
            self.put(&vec![0; gap])?;
            let body: Vec<u8> = rows.iter().flat_map(Row::encode).collect();
            let first_row = (number * ROWS_PER_PAGE) as u64;
            let page =
                tree::encode_page(PageKind::Table, 0, rows.len(), first_row, position, &body);
            self.put(&page)?;
        }
        self.rows = rows;
        Ok(())
    }
}

fn log2(power: u32) -> u8 {
    u8::try_from(power.trailing_zeros()).expect("at most 32")
}
