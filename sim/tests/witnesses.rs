//! The witnesses of the planted bugs: small exact scenarios, each of which violates the invariant that it names
//! when its bug is planted, and nothing when it is not. The first half needs a build with `planted-bugs`, which
//! `make planted` makes; the second half holds in every build.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ottla_core::planted::Plant;
use ottla_sim::run::{RunOptions, run};
use ottla_sim::scenario::Template;

/// Every witness, with its file.
fn witnesses() -> Vec<(PathBuf, Template)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/witness");
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir).expect("the directory is there").map(|entry| entry.expect("it can be read").path()).collect();
    files.sort();
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("a file that was just listed");
        let template = Template::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        (file, template)
    };
    files.into_iter().map(read).collect()
}

/// The invariant that a run violates.
fn violated(template: &Template, options: &RunOptions) -> Option<String> {
    let scenario = template.scenario(1).expect("a good scenario");
    let outcome = run(scenario, options).expect("good properties");
    outcome.violation.map(|violation| violation.to_string())
}

#[test]
fn each_bug_has_its_witness() {
    let mut witnessed = BTreeSet::new();
    for (file, template) in witnesses() {
        let plant = template.plant().and_then(|id| id.parse::<Plant>().ok());
        let plant = plant.unwrap_or_else(|| panic!("{} names no planted bug", file.display()));
        assert_eq!(file.file_stem().and_then(|name| name.to_str()), Some(plant.id()));
        assert_eq!(template.expects().len(), 1, "{} names one invariant", file.display());
        witnessed.insert(plant);
    }
    assert!(witnessed.iter().eq(Plant::ALL), "{witnessed:?}");
}

#[test]
fn without_its_bug_each_passes() {
    for (file, template) in witnesses() {
        assert_eq!(violated(&template, &RunOptions::default()), None, "{}", file.display());
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn with_its_bug_each_violates_what_it_names() {
    use ottla_core::planted::Planted;
    for (file, template) in witnesses() {
        let plant: Plant = template.plant().and_then(|id| id.parse().ok()).expect("it names its bug");
        let options = RunOptions { planted: Planted::default().with(plant), ..RunOptions::default() };
        let violated = violated(&template, &options).unwrap_or_default();
        let expected = &template.expects()[0];
        assert!(violated.starts_with(&format!("{expected}:")), "{}: {violated}", file.display());
    }
}
