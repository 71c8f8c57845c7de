//! Power loss: what is left of everything that was not synced.
//!
//! Three presets. `ordered`: changes reach the platter in the order in which they were made; a cut falls
//! between two of them, and tears the one it falls into. `ext4-like`: names and sizes are a journal, cut at
//! one place that any sync moves forward; a file is never longer than the data that reached it; but pages
//! that overwrite others come and tear as they like (as with `data=ordered,noauto_da_alloc`).
//! `adversarial`: each page, size and name on its own is kept, dropped or torn by sector; all that POSIX
//! allows, save that a rename never loses both names.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::file::{File, PAGE, Page, PageBytes, SECTOR};
use super::tree::{Inode, Names, Rename, Tree};
use super::versioned::{Change, Versioned};
use crate::draw::Draw;

/// How unkind the disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Changes survive in order.
    Ordered,
    /// Names and sizes survive in order, data does not.
    #[serde(rename = "ext4-like")]
    Ext4Like,
    /// Everything survives or not on its own.
    #[default]
    Adversarial,
}

/// What a power loss took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Pages that lost a write.
    pub pages: u32,
    /// Pages that are part old, part new.
    pub torn: u32,
    /// Files whose size went back.
    pub sizes: u32,
    /// Names that went back.
    pub names: u32,
}

impl Loss {
    /// Whether anything was lost at all.
    #[must_use]
    pub fn landed(self) -> bool {
        self != Self::default()
    }
}

/// Settles everything on a disk. `barrier` is the last change that the journal holds for certain, `newest`
/// the last one made.
pub fn settle(tree: &mut Tree, preset: Preset, barrier: Change, newest: Change, draw: Draw) -> Loss {
    let mut settling =
        Settling { preset, cut: draw.between(barrier.min(newest), newest), draw, items: 0, loss: Loss::default() };
    let renames = std::mem::take(&mut tree.renames);
    for (ino, inode) in tree.inodes_mut() {
        match inode {
            Inode::File(file) => settling.file(file),
            Inode::Dir(names) => {
                let renames = renames.iter().filter(|rename| rename.dir == ino);
                settling.names(names, renames);
            }
        }
    }
    tree.power_lost();
    settling.loss
}

struct Settling {
    preset: Preset,
    /// The last change that an ordered disk, or a journal, kept.
    cut: Change,
    draw: Draw,
    items: u64,
    loss: Loss,
}

impl Settling {
    fn file(&mut self, file: &mut File) {
        if file.size.is_unsynced() {
            let size = *self.pick(&file.size);
            self.loss.sizes += u32::from(size != file.length());
            file.size.settle(size);
        }
        let size = file.length();
        for (index, page) in file.pages.iter_mut().enumerate() {
            if page.bytes.is_unsynced() {
                self.page(page, (index * PAGE) as u64 >= size);
            } else {
                // What a failed sync left behind is in memory only.
                page.bytes.reload();
            }
        }
        file.power_lost();
    }

    /// `past_end`: the size that was kept ends before this page, so nobody will see it.
    fn page(&mut self, page: &mut Page, past_end: bool) {
        let draw = self.next();
        let bytes = match self.preset {
            Preset::Ordered => {
                let kept = page.bytes.at(self.cut);
                match page.bytes.just_after(self.cut) {
                    // Sectors go out in order, and the power fails among them.
                    Some(next) => tear(kept, next, (1 << draw.below(9)) - 1),
                    None => kept.clone(),
                }
            }
            Preset::Ext4Like if page.bytes.durable().is_none() => page.bytes.at(self.cut).clone(),
            Preset::Ext4Like | Preset::Adversarial => any_or_torn(&page.bytes, draw),
        };
        if !past_end && !same(&bytes, page.bytes.cached()) {
            let torn = !page.bytes.unsynced().iter().any(|(_, version)| same(&bytes, version));
            let torn = torn && !same(&bytes, page.bytes.durable());
            self.loss.torn += u32::from(torn);
            self.loss.pages += u32::from(!torn);
        }
        page.bytes.settle(bytes);
    }

    fn names<'a>(&mut self, names: &mut Names, renames: impl Iterator<Item = &'a Rename>) {
        let mut chosen: BTreeMap<Box<str>, usize> = BTreeMap::new();
        for (name, slot) in names.iter().filter(|(_, slot)| slot.is_unsynced()) {
            let count = match self.preset {
                Preset::Adversarial => slot.any_index(self.next()),
                Preset::Ordered | Preset::Ext4Like => slot.index_at(self.cut),
            };
            chosen.insert(name.clone(), count);
        }
        for rename in renames {
            keep_one_name(names, &mut chosen, rename);
        }
        for (name, count) in chosen {
            let slot = names.get_mut(&name).expect("it was just looked at");
            let ino = *slot.version(count);
            self.loss.names += u32::from(ino != *slot.cached());
            slot.settle(ino);
        }
    }

    fn pick<'a, T: Clone>(&mut self, value: &'a Versioned<T>) -> &'a T {
        match self.preset {
            Preset::Adversarial => value.version(value.any_index(self.next())),
            Preset::Ordered | Preset::Ext4Like => value.at(self.cut),
        }
    }

    const fn next(&mut self) -> Draw {
        self.items += 1;
        self.draw.and(self.items)
    }
}

/// Where a rename's old name is gone and its new one did not come, the new one comes.
fn keep_one_name(names: &Names, chosen: &mut BTreeMap<Box<str>, usize>, rename: &Rename) {
    let after = |name: &str, chosen: &BTreeMap<Box<str>, usize>| match (names.get(name), chosen.get(name)) {
        (Some(slot), Some(count)) => slot.stamp(*count) >= rename.change,
        // Nothing unsynced: whatever happened to this name is durable.
        _ => true,
    };
    if after(&rename.from, chosen) && !after(&rename.to, chosen) {
        let slot = names.get(&rename.to).expect("it has a choice, so it is there");
        chosen.insert(rename.to.clone(), slot.index_at(rename.change));
    }
}

fn any_or_torn(page: &Versioned<PageBytes>, draw: Draw) -> PageBytes {
    let newest = page.unsynced().len();
    match draw.below(4) {
        0 => page.version(0).clone(),
        1 => page.version(newest).clone(),
        2 => page.version(draw.and(1).index(newest + 1)).clone(),
        _ => {
            let newer = 1 + draw.and(2).index(newest);
            let older = draw.and(3).index(newer);
            tear(page.version(older), page.version(newer), draw.and(4).below(256))
        }
    }
}

/// A page whose sector `n` is new where bit `n` of `mask` is set, else old.
fn tear(old: &PageBytes, new: &PageBytes, mask: u64) -> PageBytes {
    let zeros = [0; PAGE];
    let mut bytes = old.clone().unwrap_or_else(|| Arc::new(zeros));
    let source = new.as_deref().unwrap_or(&zeros);
    let target = Arc::make_mut(&mut bytes);
    for sector in (0..PAGE / SECTOR).filter(|sector| mask >> sector & 1 == 1) {
        let range = sector * SECTOR..(sector + 1) * SECTOR;
        target[range.clone()].copy_from_slice(&source[range]);
    }
    Some(bytes)
}

fn same(one: &PageBytes, other: &PageBytes) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
        (None, None) => true,
        (Some(bytes), None) | (None, Some(bytes)) => bytes.iter().all(|byte| *byte == 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::file::WriteBack;
    use crate::draw::{Draws, Label};
    use ottla_core::machine::{LogDirId, Path};

    fn path(name: &str) -> Path {
        Path::new(LogDirId(0), name)
    }

    /// What `build` leaves after a power loss, over many draws: each outcome described by `look`.
    fn outcomes(
        preset: Preset,
        build: impl Fn(&mut Tree) -> (Change, Change),
        look: impl Fn(&mut Tree) -> String,
    ) -> Vec<String> {
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..400 {
            let mut tree = Tree::new(1);
            let (barrier, newest) = build(&mut tree);
            settle(&mut tree, preset, barrier, newest, Draws::new(9).at(Label::PowerLoss, 0, n));
            seen.insert(look(&mut tree));
        }
        seen.into_iter().collect()
    }

    fn text(tree: &mut Tree, name: &str) -> String {
        let Some(ino) = tree.find(&path(name)) else {
            return "-".into();
        };
        let file = tree.file_mut(ino).expect("a file");
        let bytes = file.read_at(0, usize::MAX).bytes;
        let runs = bytes.chunk_by(|a, b| a == b).map(|run| format!("{}x{}", run[0], run.len()));
        runs.collect::<Vec<_>>().join(" ")
    }

    fn three_writes(tree: &mut Tree) -> (Change, Change) {
        let ino = tree.create(1, &path("a")).expect("the root is there");
        let file = tree.file_mut(ino).expect("just made");
        file.write_at(2, 0, &[1; 512]);
        file.sync(2, || WriteBack::Good);
        file.write_at(3, 512, &[2; 512]);
        file.write_at(4, 1024, &[3; 512]);
        tree.sync_dir(2, &path("")).expect("the root is there");
        (2, 4)
    }

    #[test]
    fn an_ordered_disk_keeps_a_prefix() {
        let seen = outcomes(Preset::Ordered, three_writes, |tree| text(tree, "a"));
        assert_eq!(seen, ["1x512", "1x512 2x512", "1x512 2x512 3x512"]);
    }

    #[test]
    fn an_adversarial_disk_keeps_size_and_bytes_apart() {
        let seen = outcomes(Preset::Adversarial, three_writes, |tree| text(tree, "a"));
        for possible in ["1x512", "1x512 0x1024", "1x512 0x512 3x512", "1x512 2x512 3x512"] {
            assert!(seen.iter().any(|text| text == possible), "{possible} not in {seen:?}");
        }
        assert!(seen.iter().all(|text| text.starts_with("1x512")), "{seen:?}");
    }

    #[test]
    fn a_file_on_ext4_is_never_longer_than_its_data() {
        let build = |tree: &mut Tree| {
            let ino = tree.create(1, &path("a")).expect("the root is there");
            let file = tree.file_mut(ino).expect("just made");
            file.write_at(2, 0, &[1; 4096]);
            file.write_at(3, 4096, &[2; 4096]);
            (0, 3)
        };
        let seen = outcomes(Preset::Ext4Like, build, |tree| text(tree, "a"));
        assert_eq!(seen, ["", "-", "1x4096", "1x4096 2x4096"]);
    }

    #[test]
    fn a_synced_file_with_an_unsynced_name_can_vanish() {
        let build = |tree: &mut Tree| {
            let ino = tree.create(1, &path("a")).expect("the root is there");
            let file = tree.file_mut(ino).expect("just made");
            file.write_at(2, 0, &[1; 10]);
            file.sync(2, || WriteBack::Good);
            (0, 2)
        };
        assert_eq!(outcomes(Preset::Adversarial, build, |tree| text(tree, "a")), ["-", "1x10"]);
    }

    #[test]
    fn a_rename_never_loses_both_names() {
        let build = |tree: &mut Tree| {
            for (change, name, byte) in [(1, "a", 1), (2, "a.tmp", 2)] {
                let ino = tree.create(change, &path(name)).expect("the root is there");
                let file = tree.file_mut(ino).expect("just made");
                file.write_at(change, 0, &[byte; 10]);
                file.sync(change, || WriteBack::Good);
            }
            tree.sync_dir(2, &path("")).expect("the root is there");
            tree.rename(3, &path("a.tmp"), &path("a")).expect("it is there");
            (2, 3)
        };
        let look = |tree: &mut Tree| format!("{} / {}", text(tree, "a"), text(tree, "a.tmp"));
        let seen = outcomes(Preset::Adversarial, build, look);
        assert_eq!(seen, ["1x10 / 2x10", "2x10 / -", "2x10 / 2x10"]);
    }

    #[test]
    fn a_failed_sync_loses_what_it_covered_even_if_the_next_succeeds() {
        let build = |tree: &mut Tree| {
            let ino = tree.create(1, &path("a")).expect("the root is there");
            tree.sync_dir(1, &path("")).expect("the root is there");
            let file = tree.file_mut(ino).expect("just made");
            file.write_at(2, 0, &[1; 4096]);
            file.fail_sync(2);
            file.write_at(3, 4096, &[2; 4096]);
            file.sync(3, || WriteBack::Good);
            (3, 3)
        };
        for preset in [Preset::Ordered, Preset::Ext4Like, Preset::Adversarial] {
            assert_eq!(outcomes(preset, build, |tree| text(tree, "a")), ["0x4096 2x4096"]);
        }
    }
}
