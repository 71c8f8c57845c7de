//! Names: directories, and which file each name in them means. Names are synced apart from files.

use std::collections::{BTreeMap, BTreeSet};

use ottla_core::machine::{DiskError, Entry, Path};

use super::file::File;
use super::versioned::{Change, Versioned};

/// The identity of a file or directory, whatever it is called.
pub type Ino = u32;

/// All names and files of one disk.
#[derive(Clone, Debug)]
pub struct Tree {
    inodes: BTreeMap<Ino, Inode>,
    roots: Vec<Ino>,
    next: Ino,
    /// Renames whose two halves are not both durable.
    pub renames: Vec<Rename>,
}

/// The names in a directory. One that means nothing is a removal that is not durable.
pub type Names = BTreeMap<Box<str>, Versioned<Option<Ino>>>;

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Inode {
    /// A directory's names.
    Dir(Names),
    /// A file.
    File(File),
}

/// The two names that one rename changed.
#[derive(Clone, Debug)]
pub struct Rename {
    /// When.
    pub change: Change,
    /// In which directory.
    pub dir: Ino,
    /// The name that went.
    pub from: Box<str>,
    /// The name that came.
    pub to: Box<str>,
}

impl Tree {
    /// A disk with so many empty, durable log directories.
    pub fn new(dirs: u16) -> Self {
        let roots: Vec<Ino> = (1..=Ino::from(dirs)).collect();
        Self {
            inodes: roots.iter().map(|ino| (*ino, Inode::Dir(BTreeMap::new()))).collect(),
            next: Ino::from(dirs) + 1,
            roots,
            renames: Vec::new(),
        }
    }

    /// What a path means to the running kernel.
    pub fn find(&self, path: &Path) -> Option<Ino> {
        let root = *self.roots.get(usize::from(path.dir.0))?;
        let mut parts = path.name.split('/').filter(|part| !part.is_empty());
        parts.try_fold(root, |dir, part| self.lookup(dir, part))
    }

    /// The file of this identity.
    pub fn file(&self, ino: Ino) -> Option<&File> {
        match self.inodes.get(&ino)? {
            Inode::File(file) => Some(file),
            Inode::Dir(_) => None,
        }
    }

    /// The same, to change it.
    pub fn file_mut(&mut self, ino: Ino) -> Option<&mut File> {
        match self.inodes.get_mut(&ino)? {
            Inode::File(file) => Some(file),
            Inode::Dir(_) => None,
        }
    }

    /// Makes an empty file, or cuts the one of that name to nothing.
    ///
    /// # Errors
    /// Its directory is not there, or the name is a directory's.
    pub fn create(&mut self, change: Change, path: &Path) -> Result<Ino, DiskError> {
        if let Some(ino) = self.find(path) {
            let file = self.file_mut(ino).ok_or(DiskError::Io(IS_A_DIRECTORY))?;
            file.set_len(change, 0);
            return Ok(ino);
        }
        let (parent, name) = self.parent(path)?;
        Ok(self.add(change, parent, name, Inode::File(File::empty())))
    }

    /// Makes a directory; not an error if it is there.
    ///
    /// # Errors
    /// Its parent is not there, or the name is a file's.
    pub fn make_dir(&mut self, change: Change, path: &Path) -> Result<(), DiskError> {
        match self.find(path) {
            None => {
                let (parent, name) = self.parent(path)?;
                self.add(change, parent, name, Inode::Dir(BTreeMap::new()));
                Ok(())
            }
            Some(there) if self.names(there).is_some() => Ok(()),
            Some(_) => Err(DiskError::Io(EXISTS)),
        }
    }

    /// The entries of a directory by name.
    ///
    /// # Errors
    /// It is not there.
    pub fn list(&self, path: &Path) -> Result<Box<[Entry]>, DiskError> {
        let dir = self.find(path).ok_or(DiskError::NotFound)?;
        let entry = |(name, ino): (&str, Ino)| {
            let file = self.file(ino);
            Entry { name: name.into(), is_dir: file.is_none(), len: file.map_or(0, File::length) }
        };
        let names = self.names(dir).ok_or(DiskError::Io(NOT_A_DIRECTORY))?;
        Ok(names.iter().filter_map(|(name, ino)| Some((&**name, (*ino.cached())?))).map(entry).collect())
    }

    /// Renames within one directory, replacing what has the new name.
    ///
    /// # Errors
    /// There is nothing to rename.
    pub fn rename(&mut self, change: Change, from: &Path, to: &Path) -> Result<(), DiskError> {
        let ino = self.find(from).ok_or(DiskError::NotFound)?;
        let (dir, old) = self.parent(from)?;
        let (to_dir, new) = self.parent(to)?;
        if to_dir != dir {
            return Err(DiskError::Io(CROSS_DEVICE));
        }
        let (from, to): (Box<str>, Box<str>) = (old.into(), new.into());
        self.put_name(change, dir, &from, None);
        self.put_name(change, dir, &to, Some(ino));
        self.renames.push(Rename { change, dir, from, to });
        Ok(())
    }

    /// Removes a file or an empty directory; not an error if it is gone.
    ///
    /// # Errors
    /// The directory is not empty.
    pub fn remove(&mut self, change: Change, path: &Path) -> Result<(), DiskError> {
        let Some(ino) = self.find(path) else { return Ok(()) };
        let full = self.names(ino).is_some_and(|names| names.values().any(|name| name.cached().is_some()));
        if full {
            return Err(DiskError::Io(NOT_EMPTY));
        }
        let (dir, name) = self.parent(path)?;
        let name = name.to_owned();
        self.put_name(change, dir, &name, None);
        Ok(())
    }

    /// Makes the names of a directory durable up to `change`.
    ///
    /// # Errors
    /// It is not there.
    pub fn sync_dir(&mut self, change: Change, path: &Path) -> Result<(), DiskError> {
        let dir = self.find(path).ok_or(DiskError::NotFound)?;
        let Some(Inode::Dir(names)) = self.inodes.get_mut(&dir) else {
            return Err(DiskError::Io(NOT_A_DIRECTORY));
        };
        names.values_mut().for_each(|name| name.sync(change));
        names.retain(|_, name| name.is_unsynced() || name.cached().is_some());
        self.renames.retain(|rename| rename.dir != dir || rename.change > change);
        Ok(())
    }

    /// Every file and directory, by identity.
    pub fn inodes_mut(&mut self) -> impl Iterator<Item = (Ino, &mut Inode)> {
        self.inodes.iter_mut().map(|(ino, inode)| (*ino, inode))
    }

    /// Every file that has a name, with its path below its log directory, in order.
    pub fn files(&self) -> Vec<(u16, String, Ino)> {
        let mut found = Vec::new();
        for (dir, root) in (0..).zip(&self.roots) {
            self.walk(*root, "", &mut |name, ino| found.push((dir, name, ino)));
        }
        found
    }

    /// The names of a directory; `None` if it is none.
    pub fn names(&self, dir: Ino) -> Option<&Names> {
        match self.inodes.get(&dir)? {
            Inode::Dir(names) => Some(names),
            Inode::File(_) => None,
        }
    }

    /// What a name may mean after a power loss: each of its versions.
    pub fn meanings(&self, path: &Path) -> Vec<Option<Ino>> {
        let found = self.parent(path).ok().and_then(|(dir, name)| self.names(dir)?.get(name));
        let Some(name) = found else { return vec![None] };
        name.unsynced().iter().map(|(_, ino)| *ino).chain([*name.durable(), *name.cached()]).collect()
    }

    /// Whether a name may mean something after a power loss: it does now, or its removal is not durable.
    pub fn may_exist(&self, path: &Path) -> bool {
        self.meanings(path).iter().any(Option::is_some)
    }

    /// Drops what no name leads to, now or after a power loss, and nobody holds.
    pub fn sweep(&mut self, held: impl IntoIterator<Item = Ino>) {
        let mut alive: BTreeSet<Ino> = held.into_iter().collect();
        let mut queue = self.roots.clone();
        while let Some(ino) = queue.pop() {
            alive.insert(ino);
            let Some(names) = self.names(ino) else { continue };
            for name in names.values() {
                let later = name.unsynced().iter().filter_map(|(_, ino)| *ino);
                queue.extend(later.chain(*name.durable()).chain(*name.cached()));
            }
        }
        self.inodes.retain(|ino, _| alive.contains(ino));
    }

    /// Power is lost, and what is left of each name is settled.
    pub fn power_lost(&mut self) {
        self.renames.clear();
        for inode in self.inodes.values_mut() {
            if let Inode::Dir(names) = inode {
                names.retain(|_, name| name.cached().is_some());
            }
        }
        self.sweep([]);
    }

    fn walk(&self, dir: Ino, prefix: &str, visit: &mut impl FnMut(String, Ino)) {
        for (name, ino) in self.names(dir).into_iter().flatten() {
            let Some(ino) = *ino.cached() else { continue };
            let path = if prefix.is_empty() { name.to_string() } else { format!("{prefix}/{name}") };
            if self.names(ino).is_some() {
                self.walk(ino, &path, visit);
            } else {
                visit(path, ino);
            }
        }
    }

    fn lookup(&self, dir: Ino, name: &str) -> Option<Ino> {
        *self.names(dir)?.get(name)?.cached()
    }

    fn parent<'a>(&self, path: &'a Path) -> Result<(Ino, &'a str), DiskError> {
        let (dir, name) = path.name.rsplit_once('/').unwrap_or(("", &path.name));
        let parent = self.find(&Path::new(path.dir, dir)).ok_or(DiskError::NotFound)?;
        Ok((parent, name))
    }

    fn add(&mut self, change: Change, parent: Ino, name: &str, inode: Inode) -> Ino {
        let ino = self.next;
        self.next += 1;
        self.inodes.insert(ino, inode);
        self.put_name(change, parent, name, Some(ino));
        ino
    }

    fn put_name(&mut self, change: Change, dir: Ino, name: &str, ino: Option<Ino>) {
        if let Some(Inode::Dir(names)) = self.inodes.get_mut(&dir) {
            let slot = names.entry(name.into()).or_insert_with(|| Versioned::new(None));
            slot.write(change, ino);
        }
    }
}

/// EISDIR.
pub(super) const IS_A_DIRECTORY: i32 = 21;
const NOT_A_DIRECTORY: i32 = 20;
const EXISTS: i32 = 17;
/// EXDEV.
const CROSS_DEVICE: i32 = 18;
/// ENOTEMPTY.
const NOT_EMPTY: i32 = 39;
