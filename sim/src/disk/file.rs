//! One file: pages of 4 KiB and a size, each with what a power loss may leave of it.
//!
//! Pages are shared, never changed in place: a clone of the world costs no copies, and each unsynced
//! version stays at hand. A page that is not resident is read from the platter, rot and all.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::versioned::{Change, Versioned};
use crate::draw::Draw;

/// Bytes in a page, the unit of the page cache.
pub const PAGE: usize = 4096;
/// Bytes in a sector, the unit that a platter writes whole.
pub const SECTOR: usize = 512;

/// A page's bytes; `None` is a page that was never written, and reads as zeros.
pub type PageBytes = Option<Arc<[u8; PAGE]>>;

/// One page of a file.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its bytes, in all layers.
    pub bytes: Versioned<PageBytes>,
    /// Whether the kernel holds a copy; if not, the next read goes to the platter.
    pub resident: bool,
    /// Whether the platter holds other bytes than were last written back to it.
    pub damaged: bool,
    /// Whether the copy in memory is of such bytes.
    spoilt: bool,
    /// Whether the present process has read or written it while it was as it should be.
    seen: bool,
}

/// A file's content, without its name.
#[derive(Clone, Debug)]
pub struct File {
    /// Its length in bytes.
    pub size: Versioned<u64>,
    /// Its pages, as many as any version of it needs.
    pub pages: Vec<Page>,
    dirty: Vec<u32>,
}

/// What happens to a page when the kernel writes it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteBack {
    /// It reaches its place.
    Good,
    /// The device says so, but wrote nothing.
    Lost,
    /// It lands on another page of the same file.
    Misdirected(Draw64),
}

/// The bits of a draw, comparable.
pub type Draw64 = u64;

/// What a read met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBytes {
    /// The bytes; fewer than asked for only at the end of the file.
    pub bytes: Bytes,
    /// Whether the platter was asked.
    pub cold: bool,
    /// Whether damaged bytes came from it.
    pub damaged: bool,
}

impl File {
    /// An empty file that nothing is durable of.
    pub const fn empty() -> Self {
        Self { size: Versioned::new(0), pages: Vec::new(), dirty: Vec::new() }
    }

    /// Its length as the running kernel shows it.
    pub const fn length(&self) -> u64 {
        *self.size.cached()
    }

    /// Whether a power loss may change it.
    pub fn is_unsynced(&self) -> bool {
        self.size.is_unsynced() || self.pages.iter().any(|page| page.bytes.is_unsynced())
    }

    /// Writes bytes, growing the file where needed.
    pub fn write_at(&mut self, change: Change, pos: u64, bytes: &[u8]) {
        let mut rest = bytes;
        let mut at = pos;
        while !rest.is_empty() {
            let (page, within) = place(at);
            let (now, later) = rest.split_at(rest.len().min(PAGE - within));
            self.change_page(change, page, |buffer| buffer[within..within + now.len()].copy_from_slice(now));
            at += now.len() as u64;
            rest = later;
        }
        if at > self.length() {
            self.size.write(change, at);
        }
    }

    /// Cuts the file, or grows it with zeros.
    pub fn set_len(&mut self, change: Change, len: u64) {
        let old = self.length();
        if len < old {
            let (first, within) = place(len);
            if within > 0 && self.cached_page(first).is_some() {
                self.change_page(change, first, |buffer| buffer[within..].fill(0));
            }
            let gone = first + usize::from(within > 0);
            for page in gone..self.pages.len() {
                if self.cached_page(page).is_some() {
                    self.put_page(change, page, None);
                }
            }
        }
        if len != old {
            self.size.write(change, len);
        }
    }

    /// Reads at most `len` bytes; pages that are not resident come from the platter, and stay.
    pub fn read_at(&mut self, pos: u64, len: usize) -> ReadBytes {
        let end = self.length().min(pos.saturating_add(len as u64));
        let mut bytes = BytesMut::with_capacity(usize::try_from(end.saturating_sub(pos)).unwrap_or(0));
        let mut read = ReadBytes::default();
        let mut at = pos;
        while at < end {
            let (index, within) = place(at);
            let take = (PAGE - within).min(usize::try_from(end - at).unwrap_or(PAGE));
            match self.pages.get_mut(index) {
                None => bytes.resize(bytes.len() + take, 0),
                Some(page) => {
                    page.fault_in(&mut read);
                    match page.bytes.cached() {
                        None => bytes.resize(bytes.len() + take, 0),
                        Some(buffer) => bytes.extend_from_slice(&buffer[within..within + take]),
                    }
                }
            }
            at += take as u64;
        }
        read.bytes = bytes.freeze();
        read
    }

    /// The present process has read these bytes. Those that are bad already it has not seen as they should be.
    pub fn note_seen(&mut self, pos: u64, len: usize) {
        let pages = self.pages_of(pos, len);
        self.pages[pages].iter_mut().for_each(Page::note_seen);
    }

    /// The present process is no more.
    pub fn forget_seen(&mut self) {
        self.pages.iter_mut().for_each(|page| page.seen = false);
    }

    /// The pages of a range that have gone bad since the present process had them in hand.
    pub fn gone_bad(&self, pos: u64, len: usize) -> impl Iterator<Item = usize> {
        self.pages_of(pos, len).filter(|page| self.pages[*page].seen && self.pages[*page].spoilt)
    }

    fn pages_of(&self, pos: u64, len: usize) -> Range<usize> {
        let end = self.length().min(pos.saturating_add(len as u64));
        if pos >= end {
            return 0..0;
        }
        let count = self.pages.len();
        place(pos).0.min(count)..(place(end - 1).0 + 1).min(count)
    }

    /// Makes all up to `change` durable; `fate` says what becomes of each page on its way.
    pub fn sync(&mut self, change: Change, mut fate: impl FnMut() -> WriteBack) {
        self.size.sync(change);
        for index in std::mem::take(&mut self.dirty) {
            let page = index as usize;
            match fate() {
                WriteBack::Good => {
                    self.pages[page].bytes.sync(change);
                    self.pages[page].damaged = false;
                }
                WriteBack::Lost => {
                    self.pages[page].bytes.forget(change);
                    self.pages[page].damaged = true;
                }
                WriteBack::Misdirected(draw) => self.misdirect(change, page, draw),
            }
            if self.pages[page].bytes.is_unsynced() {
                self.dirty.push(index);
            }
        }
    }

    /// A sync up to `change` failed: the pages count as clean, their bytes never reach the platter.
    pub fn fail_sync(&mut self, change: Change) {
        for index in std::mem::take(&mut self.dirty) {
            let page = &mut self.pages[index as usize];
            page.bytes.forget(change);
            if page.bytes.is_unsynced() {
                self.dirty.push(index);
            }
        }
    }

    /// The kernel gives back the memory of all pages that are clean.
    pub fn evict(&mut self, pos: u64) {
        let first = place(pos).0.min(self.pages.len());
        for page in self.pages[first..].iter_mut().filter(|page| !page.bytes.is_unsynced()) {
            page.resident = false;
        }
    }

    /// Flips one bit of the durable bytes of a page; answers false where there are none.
    pub fn rot(&mut self, page: usize, draw: Draw) -> bool {
        let Some(page) = self.pages.get_mut(page) else {
            return false;
        };
        let Some(bytes) = page.bytes.durable() else {
            return false;
        };
        let mut rotten = Arc::clone(bytes);
        let bit = draw.index(PAGE * 8);
        Arc::make_mut(&mut rotten)[bit / 8] ^= 1 << (bit % 8);
        page.bytes.corrupt(Some(rotten));
        page.damaged = true;
        true
    }

    /// Power is lost: nothing is in memory or waiting any more. Pages past the end are gone.
    pub fn power_lost(&mut self) {
        self.dirty.clear();
        let (last, within) = place(self.length());
        self.pages.truncate(last + usize::from(within > 0));
        for page in &mut self.pages {
            page.resident = false;
        }
    }

    /// Whether reading these bytes has to wait for the platter.
    pub fn is_cold(&self, pos: u64, len: u32) -> bool {
        let end = self.length().min(pos + u64::from(len));
        let (first, last) = (place(pos).0, place(end.saturating_sub(1)).0);
        pos < end && self.pages.iter().take(last + 1).skip(first).any(|page| !page.resident)
    }

    fn misdirect(&mut self, change: Change, page: usize, draw: Draw64) {
        let newest = self.pages[page].bytes.forget(change);
        self.pages[page].damaged = true;
        let victim = usize::try_from(draw % self.pages.len() as u64).unwrap_or(0);
        if let (Some(newest), true) = (newest, victim != page) {
            self.pages[victim].bytes.corrupt(newest);
            self.pages[victim].damaged = true;
        }
    }

    fn cached_page(&self, page: usize) -> Option<&Arc<[u8; PAGE]>> {
        self.pages.get(page)?.bytes.cached().as_ref()
    }

    /// A write to part of a page reads the rest of it first.
    fn change_page(&mut self, change: Change, index: usize, edit: impl FnOnce(&mut [u8; PAGE])) {
        if let Some(page) = self.pages.get_mut(index) {
            page.fault_in(&mut ReadBytes::default());
        }
        let mut bytes = match self.cached_page(index) {
            Some(bytes) => Arc::clone(bytes),
            None => Arc::new([0; PAGE]),
        };
        edit(Arc::make_mut(&mut bytes));
        self.put_page(change, index, Some(bytes));
    }

    fn put_page(&mut self, change: Change, index: usize, bytes: PageBytes) {
        while self.pages.len() <= index {
            self.pages.push(Page::new());
        }
        let page = &mut self.pages[index];
        page.resident = true;
        if !page.bytes.is_unsynced() {
            self.dirty.push(u32::try_from(index).expect("a simulated file is smaller than 16 TiB"));
        }
        page.bytes.write(change, bytes);
        page.note_seen();
    }
}

impl Page {
    fn new() -> Self {
        Self { bytes: Versioned::unwritten(None), resident: true, damaged: false, spoilt: false, seen: false }
    }

    const fn note_seen(&mut self) {
        self.seen |= !self.spoilt;
    }

    fn fault_in(&mut self, read: &mut ReadBytes) {
        if !self.resident {
            self.bytes.reload();
            self.resident = true;
            self.spoilt = self.damaged;
            read.cold = true;
            read.damaged |= self.damaged;
        }
    }
}

/// The page that a position lies in, and where in it.
fn place(pos: u64) -> (usize, usize) {
    let page = usize::try_from(pos / PAGE as u64).expect("a simulated file fits in memory");
    let within = usize::try_from(pos % PAGE as u64).expect("less than a page");
    (page, within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Draws, Label};

    fn content(file: &mut File) -> Vec<u8> {
        file.read_at(0, usize::MAX).bytes.to_vec()
    }

    #[test]
    fn bytes_come_back_over_page_borders_and_holes() {
        let mut file = File::empty();
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| (n % 251) as u8).collect();
        file.write_at(1, 5000, &bytes);
        assert_eq!(file.length(), 15_000);
        assert_eq!(file.read_at(5000, 10_000).bytes, bytes);
        assert_eq!(file.read_at(4990, 10).bytes, vec![0; 10]);
        assert_eq!(file.read_at(14_990, 100).bytes.len(), 10);
        assert!(file.read_at(20_000, 5).bytes.is_empty());
    }

    #[test]
    fn what_was_cut_off_reads_as_zeros_when_the_file_grows_again() {
        let mut file = File::empty();
        file.write_at(1, 0, &[7; 9000]);
        file.set_len(2, 100);
        file.set_len(3, 9000);
        let read = content(&mut file);
        assert!(read[..100].iter().all(|byte| *byte == 7) && read[100..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn rot_is_read_only_when_the_page_left_the_cache_and_then_sticks() {
        let mut file = File::empty();
        file.write_at(1, 0, &[7; 100]);
        file.sync(1, || WriteBack::Good);
        assert!(file.rot(0, Draws::new(1).at(Label::Rot, 0, 0).and(3)));
        let good = file.read_at(0, 4096);
        assert!(!good.damaged && !good.cold);
        file.evict(0);
        let bad = file.read_at(0, 4096);
        assert!(bad.damaged && bad.cold);
        assert!(!file.read_at(0, 1).cold);
    }

    #[test]
    fn bad_since_it_was_seen_is_told_from_bad_before() {
        let mut file = File::empty();
        file.write_at(1, 0, &[7; 3 * PAGE]);
        file.sync(1, || WriteBack::Good);
        file.forget_seen();
        file.read_at(0, PAGE);
        file.note_seen(0, PAGE);
        for page in [0, 1] {
            assert!(file.rot(page, Draws::new(1).at(Label::Rot, 0, 0)));
        }
        assert_eq!(file.gone_bad(0, 3 * PAGE).count(), 0, "memory hides it");
        file.evict(0);
        file.read_at(0, 3 * PAGE);
        file.note_seen(0, 3 * PAGE);
        assert_eq!(file.gone_bad(100, 3 * PAGE).collect::<Vec<_>>(), [0]);
        assert_eq!(file.gone_bad(PAGE as u64, usize::MAX).count(), 0);
        file.forget_seen();
        assert_eq!(file.gone_bad(0, 3 * PAGE).count(), 0, "the next process has to look");
    }

    #[test]
    fn a_lost_write_is_seen_only_after_eviction() {
        let mut file = File::empty();
        file.write_at(1, 0, &[1; 10]);
        file.sync(1, || WriteBack::Good);
        file.write_at(2, 0, &[2; 10]);
        file.sync(2, || WriteBack::Lost);
        assert_eq!(content(&mut file), [2; 10]);
        file.evict(0);
        assert_eq!(content(&mut file), [1; 10]);
    }
}
