//! Bringing partitions nearer to those who read them (KIP-881): what assignors do with racks when they have shared out.
//!
//! Whoever has more gives to one who has less, and two swap, as long as more partitions then have a replica in the rack
//! of their reader. So nobody gets two more than another because of racks; what lies near stays where it is; and what
//! comes out stays as it is the next time. It is not the best of all sharings, which would take chains of swaps.
//!
//! Whoever has no rack is near to nothing. Members that are alike and partitions that are alike are dealt with at once,
//! so the work depends on how many kinds there are; where they are more than [`MOST_KINDS`] everything stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The racks of a partition's replicas.
pub type Racks = BTreeSet<Arc<str>>;

/// Kinds of members times kinds of partitions, at most: swaps look at each two of them.
const MOST_KINDS: usize = 4_000;

/// Lets members swap and hand on what they own. `owners` has the owner of each unit, by his place in `members`; a
/// unit is a partition, or several that go together. `near` says how much of a unit is near to a member, `None` if he
/// may not have it. Whether anything has another owner now. Of units that are alike, the later ones go first.
pub fn bring_nearer<M: Ord, U: Ord>(
    owners: &mut [usize],
    members: &[M],
    units: &[U],
    near: impl Fn(&M, &U) -> Option<usize>,
) -> bool {
    let (member_kinds, kind_of) = kinds(members);
    let (unit_kinds, unit_kind_of) = kinds(units);
    if member_kinds.len().saturating_mul(unit_kinds.len()) > MOST_KINDS {
        return false;
    }
    let near = member_kinds.iter().map(|member| unit_kinds.iter().map(|unit| near(member, unit)).collect());
    let mut sharing =
        Sharing { near: near.collect(), kind_of, loads: vec![0; members.len()], piles: BTreeMap::new(), owners };
    for (unit, kind) in unit_kind_of.into_iter().enumerate() {
        let owner = sharing.owners[unit];
        sharing.loads[owner] += 1;
        sharing.piles.entry((sharing.kind_of[owner], kind)).or_default().push(unit);
    }
    let mut any = false;
    while sharing.hand_on() | sharing.swap() {
        any = true;
    }
    any
}

/// Of one topic, or of several that go together, a range of partitions for each member: the first members have one more
/// if it does not come out even. `members` are their racks, `units` the racks of each partition, once for each topic.
/// Gives each partition's owner.
#[must_use]
pub fn ranges(members: &[Option<&str>], units: &[Vec<&Racks>]) -> Vec<usize> {
    let (each, more) = (units.len() / members.len().max(1), units.len() % members.len().max(1));
    let shares = (0..members.len()).map(|place| each + usize::from(place < more));
    let mut owners: Vec<usize> = shares.enumerate().flat_map(|(place, share)| vec![place; share]).collect();
    if members.iter().any(Option::is_some) {
        let count = |rack: &str, unit: &[&Racks]| unit.iter().filter(|racks| racks.contains(rack)).count();
        bring_nearer(&mut owners, members, units, |rack, unit| Some(rack.map_or(0, |rack| count(rack, unit))));
    }
    owners
}

/// The different ones of them, and which of those each is.
fn kinds<T: Ord>(all: &[T]) -> (Vec<&T>, Vec<usize>) {
    let kinds: BTreeSet<&T> = all.iter().collect();
    let kinds: Vec<&T> = kinds.into_iter().collect();
    let places = all.iter().map(|it| kinds.binary_search(&it).expect("each is of a kind")).collect();
    (kinds, places)
}

struct Sharing<'a> {
    /// By kind of member and kind of unit.
    near: Vec<Vec<Option<usize>>>,
    /// The kind of each member.
    kind_of: Vec<usize>,
    /// How many units each member has.
    loads: Vec<usize>,
    /// The units of a kind that members of a kind own, by both.
    piles: BTreeMap<(usize, usize), Vec<usize>>,
    owners: &'a mut [usize],
}

impl Sharing<'_> {
    /// Whoever has more gives to one who has less and is nearer. Whether somebody did.
    fn hand_on(&mut self) -> bool {
        let piles: Vec<_> = self.piles.keys().copied().collect();
        let mut any = false;
        for (from, kind) in piles {
            for to in (0..self.near.len()).filter(|&to| self.near[to][kind] > self.near[from][kind]).collect::<Vec<_>>()
            {
                while self.give_one((from, kind), to) {
                    any = true;
                }
            }
        }
        any
    }

    fn give_one(&mut self, pile: (usize, usize), to: usize) -> bool {
        let takers = (0..self.loads.len()).filter(|&member| self.kind_of[member] == to);
        let Some(taker) = takers.min_by_key(|&member| self.loads[member]) else { return false };
        let Some(units) = self.piles.get_mut(&pile) else { return false };
        let found = units.iter().rposition(|&unit| self.loads[self.owners[unit]] > self.loads[taker]);
        let Some(place) = found else { return false };
        let unit = units.remove(place);
        self.loads[self.owners[unit]] -= 1;
        self.loads[taker] += 1;
        self.owners[unit] = taker;
        self.piles.entry((to, pile.1)).or_default().push(unit);
        true
    }

    /// Each of two gets what the other had, where that is nearer in sum. Whether somebody did.
    fn swap(&mut self) -> bool {
        let piles: Vec<_> = self.piles.keys().copied().collect();
        let mut any = false;
        for (place, &one) in piles.iter().enumerate() {
            for &other in &piles[..place] {
                any |= self.swap_between(one, other);
            }
        }
        any
    }

    fn swap_between(&mut self, one: (usize, usize), other: (usize, usize)) -> bool {
        let sum = |near: &Vec<Vec<_>>, (a, b): (usize, usize), (c, d): (usize, usize)| Some(near[a][b]? + near[c][d]?);
        let (crossed, crossed_other) = ((other.0, one.1), (one.0, other.1));
        let Some(then) = sum(&self.near, crossed, crossed_other) else { return false };
        if sum(&self.near, one, other).is_some_and(|now| now >= then) {
            return false;
        }
        let mut any = false;
        while !self.piles[&one].is_empty() && !self.piles[&other].is_empty() {
            let first = self.pop(one);
            let second = self.pop(other);
            self.owners.swap(first, second);
            self.piles.entry(crossed).or_default().push(first);
            self.piles.entry(crossed_other).or_default().push(second);
            any = true;
        }
        any
    }

    fn pop(&mut self, pile: (usize, usize)) -> usize {
        self.piles.get_mut(&pile).and_then(Vec::pop).expect("it is not empty")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn racks(names: &[usize]) -> Racks {
        names.iter().map(|name| format!("r{name}").into()).collect()
    }

    fn near(rack: &str, units: &[&Racks]) -> usize {
        units.iter().filter(|it| it.contains(rack)).count()
    }

    /// Ranges of partitions with these racks for members in these racks: each member's partitions.
    fn shared(members: &[&str], units: &[&[usize]]) -> Vec<Vec<usize>> {
        let units: Vec<Racks> = units.iter().map(|it| racks(it)).collect();
        let owners = ranges(
            &members.iter().copied().map(Some).collect::<Vec<_>>(),
            &units.iter().map(|it| vec![it]).collect::<Vec<_>>(),
        );
        let of = |member: usize| (0..owners.len()).filter(|&unit| owners[unit] == member).collect();
        (0..members.len()).map(of).collect()
    }

    #[test]
    fn each_reads_in_its_own_rack_where_that_can_be() {
        let one_each: [&[usize]; 6] = [&[0], &[1], &[2], &[0], &[1], &[2]];
        assert_eq!(shared(&["r0", "r1", "r2"], &one_each), [[0, 3], [1, 4], [2, 5]]);
        let two_each: [&[usize]; 6] = [&[0, 1], &[1, 2], &[2, 0], &[0, 1], &[1, 2], &[2, 0]];
        let owned = shared(&["r0", "r1", "r2"], &two_each);
        for (member, owned) in owned.iter().enumerate() {
            assert!(owned.len() == 2 && owned.iter().all(|&unit| two_each[unit].contains(&member)), "{owned:?}");
        }
    }

    #[test]
    fn who_has_one_more_is_who_is_nearer() {
        assert_eq!(shared(&["r0", "r1"], &[&[1]]), [vec![], vec![0]]);
        assert_eq!(shared(&["r0", "r1"], &[&[1], &[1], &[0]]), [vec![2], vec![0, 1]]);
    }

    #[test]
    fn where_racks_say_nothing_ranges_are_ranges() {
        assert_eq!(shared(&["r0", "r1"], &[&[0, 1][..]; 5]), [vec![0, 1, 2], vec![3, 4]]);
        assert_eq!(shared(&["r8", "r9"], &[&[0], &[1], &[0]]), [vec![0, 1], vec![2]]);
        assert_eq!(shared(&["r0", "r1"], &[&[][..]; 3]), [vec![0, 1], vec![2]]);
        assert_eq!(ranges(&[], &[]), Vec::<usize>::new());
        assert_eq!(ranges(&[None, Some("r0")], &[vec![], vec![]]), [0, 1]);
    }

    fn drawn() -> impl Strategy<Value = (Vec<Option<usize>>, Vec<Vec<Vec<usize>>>)> {
        let unit = |topics| prop::collection::vec(prop::collection::vec(0..4_usize, 0..3), topics);
        let units = (1..3_usize).prop_flat_map(move |topics| prop::collection::vec(unit(topics), 0..12));
        (prop::collection::vec(prop::option::of(0..4_usize), 1..6), units)
    }

    proptest! {
        #[test]
        fn nobody_has_two_more_and_no_two_could_swap_and_be_nearer((members, units) in drawn()) {
            let names: Vec<_> = members.iter().map(|rack| rack.map(|rack| format!("r{rack}"))).collect();
            let members: Vec<Option<&str>> = names.iter().map(Option::as_deref).collect();
            let racks: Vec<Vec<Racks>> = units.iter().map(|unit| unit.iter().map(|it| racks(it)).collect()).collect();
            let units: Vec<Vec<&Racks>> = racks.iter().map(|unit| unit.iter().collect()).collect();
            let owners = ranges(&members, &units);
            let of = |member: usize, unit: usize| members[member].map_or(0, |rack| near(rack, &units[unit]));
            let load = |member: usize| owners.iter().filter(|&&owner| owner == member).count();
            let loads: Vec<_> = (0..members.len()).map(load).collect();
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{:?}", loads);
            for one in 0..units.len() {
                for other in 0..units.len() {
                    let (a, b) = (owners[one], owners[other]);
                    prop_assert!(of(a, one) + of(b, other) >= of(b, one) + of(a, other), "{one} and {other}");
                }
                for member in 0..members.len() {
                    let less = loads[member] < loads[owners[one]];
                    prop_assert!(!less || of(member, one) <= of(owners[one], one), "{one} to {member}");
                }
            }
            let mut again = owners.clone();
            let changed = bring_nearer(&mut again, &members, &units, |rack, unit| {
                Some(rack.map_or(0, |rack| near(rack, unit)))
            });
            prop_assert!(!changed && again == owners, "it settles");
        }
    }
}
