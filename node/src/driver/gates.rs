//! Which connections' frames must wait before the machine, and the frames that do.
//!
//! One read brings thousands of small frames, and the machine answers most of them at once, with up to megabytes each.
//! So whether a connection may have one more frame handled is asked before each frame, not before each read. A
//! connection within its bounds is not known here, and costs nothing.

use std::collections::{HashMap, VecDeque};

use ottla_core::machine::{ConnId, Input};

/// Why a connection's frames wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The machine has asked for it.
    Paused,
    /// `ottla.connection.max.unsent.bytes` is exceeded; until all is sent.
    Full,
}

/// The connections whose frames wait; the frames whose wait is over; and the connections that these are of.
#[derive(Debug, Default)]
pub(super) struct Gates {
    shut: HashMap<ConnId, Gate>,
    released: VecDeque<Input>,
    opened: Vec<ConnId>,
}

/// A connection whose frames wait, for one reason or for both. They are what had been read when the gate was shut.
#[derive(Debug, Default)]
struct Gate {
    paused: bool,
    full: bool,
    frames: Vec<Input>,
}

impl Gates {
    /// Frames of the connection wait from now on. True if they did not before.
    pub(super) fn shut(&mut self, conn: ConnId, why: Why) -> bool {
        let known = self.shut.len();
        *self.shut.entry(conn).or_default().reason(why) = true;
        self.shut.len() > known
    }

    /// They do not wait for this reason any more.
    pub(super) fn open(&mut self, conn: ConnId, why: Why) {
        let Some(gate) = self.shut.get_mut(&conn) else {
            return;
        };
        *gate.reason(why) = false;
        if !gate.paused && !gate.full {
            let frames = self.shut.remove(&conn).map(|gate| gate.frames);
            self.released.extend(frames.into_iter().flatten());
            self.opened.push(conn);
        }
    }

    /// Gives the input back if it is the machine's now, and keeps it otherwise.
    pub(super) fn admit(&mut self, input: Input) -> Option<Input> {
        if self.shut.is_empty() {
            return Some(input);
        }
        match &input {
            Input::Frame { conn, .. } | Input::Malformed { conn, .. } => {
                if let Some(gate) = self.shut.get_mut(conn) {
                    gate.frames.push(input);
                    return None;
                }
            }
            Input::Drained { conn } => self.open(*conn, Why::Full),
            Input::Closed { conn } => drop(self.shut.remove(conn)),
            Input::Opened { .. }
            | Input::Answer { .. }
            | Input::Disk { .. }
            | Input::JobDone { .. }
            | Input::Shutdown
            | Input::Timeout => {}
        }
        Some(input)
    }

    /// A frame whose wait is over; it goes to the machine, by [`Gates::admit`], before any other input.
    pub(super) fn next_released(&mut self) -> Option<Input> {
        self.released.pop_front()
    }

    /// A connection that may be read again: asked when no frame is released any more.
    pub(super) fn next_opened(&mut self) -> Option<ConnId> {
        std::iter::from_fn(|| self.opened.pop()).find(|conn| !self.shut.contains_key(conn))
    }
}

impl Gate {
    fn reason(&mut self, why: Why) -> &mut bool {
        match why {
            Why::Paused => &mut self.paused,
            Why::Full => &mut self.full,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// ApiVersions with a number as its correlation id.
    fn frame(conn: u64, number: u8) -> Input {
        let frame = Bytes::copy_from_slice(&[0, 18, 0, 0, 0, 0, 0, number, 0xff, 0xff]);
        let request = ottla_core::ingress::ingress(frame, 0).expect("it is one");
        Input::Frame { conn: ConnId(conn), request }
    }

    /// A frame that is answered with too much.
    const BIG: i32 = 7;

    /// The numbers of the frames that are the machine's after one more input.
    fn step(gates: &mut Gates, input: Input) -> Vec<i32> {
        let mut handled = Vec::new();
        let mut next = Some(input);
        while let Some(input) = next {
            if let Some(Input::Frame { conn, request }) = gates.admit(input) {
                handled.push(request.head.correlation_id);
                if request.head.correlation_id == BIG {
                    gates.shut(conn, Why::Full);
                }
            }
            next = gates.next_released();
        }
        handled
    }

    #[test]
    fn frames_wait_until_no_reason_is_left_and_stay_in_order() {
        let (mut gates, conn) = (Gates::default(), ConnId(1));
        assert_eq!(step(&mut gates, frame(1, 1)), [1]);
        assert!(gates.shut(conn, Why::Full));
        assert!(!gates.shut(conn, Why::Paused), "they wait already");
        assert!(step(&mut gates, frame(1, 2)).is_empty());
        assert_eq!(step(&mut gates, frame(2, 9)), [9], "another connection's");
        gates.open(conn, Why::Paused);
        assert!(step(&mut gates, frame(1, 3)).is_empty());
        assert_eq!(gates.next_opened(), None);
        assert_eq!(step(&mut gates, Input::Drained { conn }), [2, 3]);
        assert_eq!((gates.next_opened(), gates.next_opened()), (Some(conn), None));
        assert_eq!(step(&mut gates, frame(1, 4)), [4]);
    }

    #[test]
    fn a_gate_that_is_shut_again_keeps_the_rest() {
        let (mut gates, conn) = (Gates::default(), ConnId(1));
        assert_eq!(step(&mut gates, frame(1, 7)), [BIG]);
        for number in [1, 7, 2, 7] {
            assert!(step(&mut gates, frame(1, number)).is_empty());
        }
        assert_eq!(step(&mut gates, Input::Drained { conn }), [1, BIG]);
        assert!(step(&mut gates, frame(1, 3)).is_empty());
        assert_eq!(step(&mut gates, Input::Drained { conn }), [2, BIG]);
        assert_eq!(gates.next_opened(), None, "more would have to be kept");
        assert_eq!(step(&mut gates, Input::Drained { conn }), [3]);
        assert_eq!(gates.next_opened(), Some(conn));
    }

    #[test]
    fn what_waits_goes_with_its_connection() {
        let (mut gates, conn) = (Gates::default(), ConnId(1));
        gates.shut(conn, Why::Paused);
        assert!(step(&mut gates, frame(1, 1)).is_empty());
        assert!(gates.admit(Input::Closed { conn }).is_some(), "the machine hears of it");
        assert!(gates.shut.is_empty() && gates.released.is_empty());
    }
}
