//! The suite of effect scripts, on real directories.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use ottla::disk::{Disk, DiskOptions};
use ottla_core::machine::{DiskResult, Effect, Input, OpId};
use ottla_tests::effect_scripts::{self, DiskUnderTest};

struct RealDisk {
    disk: Disk,
    completed: Vec<Input>,
    later: Receiver<Input>,
    _dir: tempfile::TempDir,
}

impl RealDisk {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options =
            DiskOptions { log_dirs: vec![dir.path().to_path_buf()], timeout: Duration::from_secs(30), workers: 2 };
        let (sender, later) = mpsc::channel();
        let done = Arc::new(move |input| drop(sender.send(input)));
        let disk = Disk::new(options, Arc::default(), done).expect("the threads start");
        Self { disk, completed: Vec::new(), later, _dir: dir }
    }
}

impl DiskUnderTest for RealDisk {
    fn execute(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            assert!(self.disk.execute(effect, &mut self.completed).is_none(), "a file effect");
        }
        self.disk.flush(&mut self.completed);
    }

    fn completions(&mut self, count: usize) -> Vec<(OpId, DiskResult)> {
        while self.completed.len() < count {
            let input = self.later.recv_timeout(Duration::from_secs(20));
            self.completed.push(input.expect("every operation completes"));
        }
        assert_eq!(self.completed.len(), count, "every operation completes once");
        self.completed.drain(..).map(completion).collect()
    }
}

fn completion(input: Input) -> (OpId, DiskResult) {
    let Input::Disk { op, result } = input else {
        panic!("{input}");
    };
    (op, result)
}

#[test]
fn the_effect_scripts() {
    effect_scripts::run_all(RealDisk::new);
}
