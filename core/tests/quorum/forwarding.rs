//! What only the controller can do, asked of another node.

use ottla_core::planted::Planted;

use crate::world::{Knobs, World};

/// Three nodes that know each other, and of them the controller and another.
fn settled(seed: u64, settings: &'static [(&'static str, &'static str)]) -> (World, usize, usize) {
    let mut world = World::new(3, 0, Planted::default(), seed);
    world.knobs = Knobs { settings, quiet: true, ..Knobs::default() };
    world.run(10_000);
    let controller = world.controller();
    let other = (controller + 1) % 3;
    (world, controller, other)
}

#[test]
fn a_client_is_given_a_requests_time_to_be_answered() {
    let (mut world, _, other) = settled(1, &[]);
    // More than a call of the quorum may take, and a second client that waits on the same connection.
    world.knobs.answer_ms = 5_000;
    let (first, _) = world.ask_for_topic(other);
    world.run(1_000);
    let (second, _) = world.ask_for_topic(other);
    world.run(3_000);
    assert_eq!((world.told_of(&first), world.told_of(&second)), (None, None));
    world.run(10_000);
    assert_eq!((world.told_of(&first), world.told_of(&second)), (Some(true), Some(true)));
}

/// As long as the topic is not there each client that looks for a coordinator would have it asked for once more.
#[test]
fn the_controller_is_asked_for_a_topic_by_one_call_at_a_time() {
    let (mut world, _, other) = settled(1, &[]);
    world.knobs.answer_ms = 5_000;
    let (warm, _) = world.ask_for_topic(other);
    world.run(6_000);
    assert_eq!(world.told_of(&warm), Some(true));
    let before = world.creations();
    (0..20).for_each(|_| world.ask_for_coordinator(other));
    world.run(3_000);
    assert_eq!(world.creations(), before + 1);
}

#[test]
fn an_answer_that_does_not_come_closes_the_connection_after_a_requests_time() {
    let (mut world, controller, other) = settled(1, &[("request.timeout.ms", "6000")]);
    let (warm, _) = world.ask_for_topic(other);
    world.run(1_000);
    assert_eq!(world.told_of(&warm), Some(true));
    world.knobs.answer_ms = 60_000;
    let (asked, _) = world.ask_for_topic(other);
    world.run(5_000);
    assert_eq!((world.told_of(&asked), world.controller()), (None, controller));
    world.run(2_000);
    assert_eq!(world.told_of(&asked), Some(false));
}

#[test]
fn what_a_client_asked_that_is_gone_is_not_asked_on() {
    let (mut world, _, other) = settled(1, &[]);
    world.knobs.dial_ms = 500;
    let (_, link) = world.ask_for_topic(other);
    world.run(100);
    world.leave(link);
    world.knobs.dial_ms = 0;
    let (next, _) = world.ask_for_topic(other);
    world.run(2_000);
    assert_eq!(world.told_of(&next), Some(true));
    assert!(!world.is_made("topic-1"), "it waited for the connection, and its client is gone");
}

/// The controller is cut off while a client of another node waits: for its answer, or for a connection to it. What the
/// client is told within a few seconds, and whether its node is the controller then.
fn without_controller(seed: u64, sent: bool) -> (Option<bool>, bool) {
    const SOON: &[(&str, &str)] =
        &[("controller.quorum.fetch.timeout.ms", "600"), ("controller.quorum.election.timeout.ms", "300")];
    let (mut world, controller, other) = settled(seed, SOON);
    if sent {
        let (warm, _) = world.ask_for_topic(other);
        world.run(1_000);
        assert_eq!(world.told_of(&warm), Some(true));
    }
    assert_eq!(world.controller(), controller);
    world.cut_off(controller);
    let (asked, _) = world.ask_for_topic(other);
    world.run(6_000);
    assert_ne!(world.controller(), controller);
    (world.told_of(&asked), world.controller() == other)
}

#[test]
fn another_controller_is_asked_what_the_one_before_was_not() {
    let mut became = [false; 2];
    for seed in 0..6 {
        let (told, is_controller) = without_controller(seed, false);
        became[usize::from(is_controller)] = true;
        // This node itself would be asked by nobody: the client is to ask it.
        assert_eq!(told, Some(!is_controller), "{seed}");
    }
    assert_eq!(became, [true; 2]);
}

#[test]
fn nobody_waits_for_what_the_controller_before_was_asked() {
    let mut became = [false; 2];
    for seed in 0..6 {
        let (told, is_controller) = without_controller(seed, true);
        became[usize::from(is_controller)] = true;
        assert_eq!(told, Some(false), "{seed}");
    }
    assert_eq!(became, [true; 2]);
}
