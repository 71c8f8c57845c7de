//! A disk as those see it who run on no node: checkers that look at it, and the file that a run starts with.

use bytes::Bytes;
use ottla_core::machine::{DiskError, Path};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::file::WriteBack;
use super::{Disk, Ino};

impl Disk {
    /// Every file with its log directory and path, in order, as the running kernel shows them.
    #[must_use]
    pub fn files(&self) -> Vec<(u16, String, Ino)> {
        self.tree.files()
    }

    /// What the files of this name hold that lie in the log directories themselves, as the running kernel shows it.
    #[must_use]
    pub fn in_each_directory(&self, name: &str) -> Vec<Bytes> {
        let named = self.files().into_iter().filter(|(_, path, _)| path == name);
        named.map(|(_, _, ino)| self.peek(ino)).collect()
    }

    /// Whether a name may be there after a power loss.
    #[must_use]
    pub fn may_exist(&self, path: &Path) -> bool {
        self.tree.may_exist(path)
    }

    /// What a file may hold after a power loss, for each file that its name may mean then; `None` where that is no
    /// file, or one that may be torn.
    #[must_use]
    pub fn after_power_loss(&self, path: &Path) -> Vec<Option<Bytes>> {
        let whole = |ino: &Ino| self.tree.file(*ino).is_some_and(|file| !file.is_unsynced());
        let meanings = self.tree.meanings(path).into_iter();
        meanings.map(|ino| ino.filter(whole).map(|ino| self.peek(ino))).collect()
    }

    /// A digest of all names and bytes, as the running kernel shows them.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hash = xxh3_64(&self.change.to_le_bytes());
        for (dir, path, ino) in self.files() {
            hash = xxh3_64_with_seed(path.as_bytes(), hash ^ u64::from(dir));
            hash = xxh3_64_with_seed(&self.peek(ino), hash);
        }
        hash
    }

    /// Looks at a file's bytes without touching the page cache: for checkers.
    #[must_use]
    pub fn peek(&self, ino: Ino) -> Bytes {
        let copy = self.tree.file(ino).cloned();
        copy.map_or_else(Bytes::new, |mut file| file.read_at(0, usize::MAX).bytes)
    }

    /// Puts a file there durably, with its directories: the state a run starts with.
    ///
    /// # Errors
    /// A part of its path is a file.
    pub fn plant_file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let parts: Vec<&str> = path.name.split('/').collect();
        self.change += 1;
        for depth in 1..parts.len() {
            self.tree.make_dir(self.change, &Path::new(path.dir, parts[..depth].join("/")))?;
        }
        let ino = self.tree.create(self.change, path)?;
        if let Some(file) = self.tree.file_mut(ino) {
            file.write_at(self.change, 0, bytes);
            file.sync(self.change, || WriteBack::Good);
        }
        for depth in 0..parts.len() {
            self.tree.sync_dir(self.change, &Path::new(path.dir, parts[..depth].join("/")))?;
        }
        Ok(())
    }
}
