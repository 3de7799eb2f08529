//! Reads a bbolt database, which is what etcd keeps its data in: pages of a B+ tree, never written here.
//!
//! The file may be damaged or hostile: every offset is checked, no page is followed twice, and memory is
//! bounded by the largest page run.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

const MAGIC: u32 = 0xED0C_DAED;
const FORMAT: u32 = 2;
const PAGE_HEADER: usize = 16;
const META_LENGTH: usize = 64;
const BUCKET_HEADER: usize = 16;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const IS_BUCKET: u32 = 0x01;
/// A tree this deep would hold more than any disk.
const DEEPEST: usize = 64;
/// The longest run of pages read at once.
const LONGEST_RUN: u64 = 1 << 30;
/// Page sizes tried when the first of the two descriptions is damaged.
const PAGE_SIZES: [u64; 7] = [1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16];

/// An open database.
pub(crate) struct Database {
    file: File,
    length: u64,
    page_size: u64,
    root: u64,
    pages: u64,
}

struct Meta {
    page_size: u64,
    root: u64,
    pages: u64,
    transaction: u64,
}

/// What is done with each key and value; an error ends the reading.
pub(crate) type Show<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), String>;

/// One element of a leaf.
struct Leaf<'a> {
    is_bucket: bool,
    key: &'a [u8],
    value: &'a [u8],
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// FNV-1a, the checksum of a database's description.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn meta(page: &[u8]) -> Option<Meta> {
    let meta = page.get(PAGE_HEADER..PAGE_HEADER + META_LENGTH)?;
    let known =
        u32_at(meta, 0)? == MAGIC && u32_at(meta, 4)? == FORMAT && u64_at(meta, 56)? == fnv(&meta[..56]);
    known.then_some(Meta {
        page_size: u64::from(u32_at(meta, 8)?),
        root: u64_at(meta, 16)?,
        pages: u64_at(meta, 40)?,
        transaction: u64_at(meta, 48)?,
    })
}

fn damaged(what: &str) -> String {
    format!("the database is damaged: {what}")
}

impl Database {
    /// Finds the newest intact description of the tree in the first `length` bytes of `file`.
    pub(crate) fn open(file: File, length: u64) -> Result<Database, String> {
        let mut found: Vec<Meta> = Vec::new();
        let mut page = [0; PAGE_HEADER + META_LENGTH];
        for at in std::iter::once(0).chain(PAGE_SIZES) {
            if at + page.len() as u64 <= length && file.read_exact_at(&mut page, at).is_ok() {
                found.extend(meta(&page));
            }
        }
        let newest = found.into_iter().max_by_key(|meta| meta.transaction);
        let meta = newest
            .ok_or("this is no bbolt database: name an etcd snapshot, or the db file of a stopped etcd")?;
        if !PAGE_SIZES.contains(&meta.page_size) {
            return Err(damaged("its page size is impossible"));
        }
        Ok(Database { file, length, page_size: meta.page_size, root: meta.root, pages: meta.pages })
    }

    /// Shows every key and value of the bucket `name`, in the order of the keys. `Ok(false)`: no such bucket.
    pub(crate) fn each(&self, name: &[u8], show: Show<'_>) -> Result<bool, String> {
        let mut bucket = None;
        self.walk(self.root, &mut |leaf| {
            if leaf.is_bucket && leaf.key == name {
                bucket = Some(leaf.value.to_vec());
            }
            Ok(())
        })?;
        let Some(bucket) = bucket else { return Ok(false) };
        let mut show = |leaf: Leaf<'_>| if leaf.is_bucket { Ok(()) } else { show(leaf.key, leaf.value) };
        match u64_at(&bucket, 0).ok_or_else(|| damaged("a bucket is cut short"))? {
            // A small bucket lies in its parent's page.
            0 => {
                let page = bucket.get(BUCKET_HEADER..).ok_or_else(|| damaged("a bucket is cut short"))?;
                leaves(page, &mut show)?;
            }
            root => self.walk(root, &mut show)?,
        }
        Ok(true)
    }

    fn walk(&self, root: u64, show: &mut dyn FnMut(Leaf<'_>) -> Result<(), String>) -> Result<(), String> {
        let mut seen = HashSet::new();
        let mut waiting = vec![(root, 0)];
        while let Some((id, depth)) = waiting.pop() {
            if depth > DEEPEST || !seen.insert(id) {
                return Err(damaged(&format!("page {id} is reached twice")));
            }
            let page = self.page(id)?;
            match u16_at(&page, 8) {
                Some(BRANCH) => {
                    let children =
                        branches(&page).ok_or_else(|| damaged(&format!("page {id} is cut short")))?;
                    waiting.extend(children.into_iter().rev().map(|child| (child, depth + 1)));
                }
                Some(LEAF) => leaves(&page, show)?,
                _ => return Err(damaged(&format!("page {id} is neither a branch nor a leaf"))),
            }
        }
        Ok(())
    }

    fn page(&self, id: u64) -> Result<Vec<u8>, String> {
        let outside = || damaged(&format!("page {id} lies outside the file"));
        // The first two pages describe the database.
        if id < 2 || id >= self.pages {
            return Err(outside());
        }
        let start = id.checked_mul(self.page_size).ok_or_else(outside)?;
        let mut header = [0; PAGE_HEADER];
        self.read(&mut header, start)?;
        if u64_at(&header, 0) != Some(id) {
            return Err(damaged(&format!("page {id} carries another number")));
        }
        let run = u64::from(u32_at(&header, 12).unwrap_or(0)) + 1;
        let bytes = run.checked_mul(self.page_size).ok_or_else(outside)?;
        if bytes > LONGEST_RUN || start.checked_add(bytes).is_none_or(|end| end > self.length) {
            return Err(outside());
        }
        let mut page = vec![0; usize::try_from(bytes).map_err(|_| outside())?];
        self.read(&mut page, start)?;
        Ok(page)
    }

    fn read(&self, into: &mut [u8], at: u64) -> Result<(), String> {
        if at.checked_add(into.len() as u64).is_none_or(|end| end > self.length) {
            return Err(damaged("it is cut short"));
        }
        self.file.read_exact_at(into, at).map_err(|error| format!("cannot read the database: {error}"))
    }
}

fn branches(page: &[u8]) -> Option<Vec<u64>> {
    let count = usize::from(u16_at(page, 10)?);
    (0..count).map(|index| u64_at(page, PAGE_HEADER + index * 16 + 8)).collect()
}

fn leaves(page: &[u8], show: &mut dyn FnMut(Leaf<'_>) -> Result<(), String>) -> Result<(), String> {
    let count = u16_at(page, 10).ok_or_else(|| damaged("a page is cut short"))?;
    for index in 0..usize::from(count) {
        show(leaf(page, index).ok_or_else(|| damaged("an entry lies outside its page"))?)?;
    }
    Ok(())
}

fn leaf(page: &[u8], index: usize) -> Option<Leaf<'_>> {
    let element = PAGE_HEADER + index * 16;
    let field = |at: usize| u32_at(page, element + at).map(|value| value as usize);
    let (flags, offset, key_length, value_length) =
        (u32_at(page, element)?, field(4)?, field(8)?, field(12)?);
    let start = element.checked_add(offset)?;
    let middle = start.checked_add(key_length)?;
    let end = middle.checked_add(value_length)?;
    Some(Leaf {
        is_bucket: flags & IS_BUCKET != 0,
        key: page.get(start..middle)?,
        value: page.get(middle..end)?,
    })
}
