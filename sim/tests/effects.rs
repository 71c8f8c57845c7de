//! The suite of effect scripts, on the simulated disk: it must answer as the node's does.

use ottla_core::machine::{DiskResult, Effect, OpId};
use ottla_sim::disk::{Disk, Operation, Preset, Speeds};
use ottla_sim::draw::Draws;
use ottla_tests::effect_scripts::{self, DiskUnderTest};

struct SimulatedDisk {
    disk: Disk,
    now: u64,
}

impl DiskUnderTest for SimulatedDisk {
    fn execute(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let (op, operation) = Operation::of(effect).expect("a file effect");
            self.disk.issue(self.now, op, operation);
        }
    }

    fn completions(&mut self, count: usize) -> Vec<(OpId, DiskResult)> {
        let mut completed = Vec::new();
        while let Some(due) = self.disk.next_due() {
            self.now = due;
            completed.extend(self.disk.step(due).map(|done| (done.op, done.result)));
        }
        assert_eq!(completed.len(), count, "every operation completes once");
        completed
    }
}

#[test]
fn the_effect_scripts() {
    for run_seed in 0..5 {
        effect_scripts::run_all(|| SimulatedDisk {
            disk: Disk::new(
                Draws::new(run_seed),
                0,
                1,
                Preset::Adversarial,
                Speeds { write: 1_000, sync: 100_000, read: 50_000, bandwidth: 0 },
            ),
            now: 0,
        });
    }
}
