//! With acks=0 nobody answers: a record has its fate when the kernel has its bytes. Until then it keeps its room in
//! `buffer.memory`, a flush waits for it, and a program that ends after that has written it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ottla_core::client::{ClientError, Event};
use ottla_core::clock::Instant;
use ottla_core::machine::ConnId;
use ottla_core::rpc::RpcError;

use super::socket::Socket;

/// What the machine says has its fate, and whose bytes may still be here.
#[derive(Debug)]
pub(super) struct Unsent {
    held: VecDeque<Held>,
    /// `request.timeout.ms`: so long a peer may take nothing.
    patience: Duration,
}

#[derive(Debug)]
struct Held {
    events: Vec<Event>,
    /// How many bytes of each connection must have left.
    marks: Vec<(ConnId, u64)>,
    /// A connection took some of it with it.
    broken: bool,
    /// What of these connections had left when a byte last did, and when that was.
    seen: u64,
    since: Instant,
}

impl Unsent {
    pub(super) fn new(patience: Duration) -> Self {
        Self { held: VecDeque::new(), patience }
    }

    /// Keeps events until what was queued before them has left.
    pub(super) fn hold(&mut self, events: Vec<Event>, sockets: &BTreeMap<ConnId, Socket>, now: Instant) {
        let marks = sockets.iter().filter_map(|(conn, socket)| Some((*conn, socket.unsent_to()?))).collect();
        self.held.push_back(Held { events, marks, broken: false, seen: 0, since: now });
    }

    /// The next events that wait for nothing any more. Of what a connection took with it nobody knows where it is.
    pub(super) fn release(&mut self, sockets: &BTreeMap<ConnId, Socket>, now: Instant) -> Option<Vec<Event>> {
        let first = self.held.front_mut()?;
        first.look(sockets);
        let sent = first.marks.iter().filter_map(|(conn, _)| sockets.get(conn)).map(Socket::sent).sum();
        if first.seen != sent {
            (first.seen, first.since) = (sent, now);
        }
        if !first.marks.is_empty() {
            return None;
        }
        let Held { mut events, broken, .. } = self.held.pop_front()?;
        if broken {
            events.iter_mut().for_each(lose);
        }
        // They wait for what comes next from now on.
        if let Some(next) = self.held.front_mut() {
            next.since = now;
        }
        Some(events)
    }

    /// A connection is about to go: what has left has left.
    pub(super) fn look(&mut self, sockets: &BTreeMap<ConnId, Socket>) {
        self.held.iter_mut().for_each(|held| held.look(sockets));
    }

    /// When the connections that keep the first of them waiting are given up.
    pub(super) fn due(&self) -> Option<Instant> {
        self.held.front().map(|first| first.since + self.patience)
    }

    /// Which these are.
    pub(super) fn stuck(&self, now: Instant) -> Vec<ConnId> {
        let overdue = self.held.front().filter(|first| first.since + self.patience <= now);
        overdue.into_iter().flat_map(|first| first.marks.iter().map(|(conn, _)| *conn)).collect()
    }
}

impl Held {
    /// Which of its bytes are still here.
    fn look(&mut self, sockets: &BTreeMap<ConnId, Socket>) {
        self.marks.retain(|(conn, mark)| match sockets.get(conn) {
            Some(socket) => !socket.has_sent(*mark),
            None => {
                self.broken = true;
                false
            }
        });
    }
}

fn lose(event: &mut Event) {
    if let Event::Delivered { token, .. } = *event {
        let error = ClientError::Rpc(RpcError::Disconnected);
        *event = Event::Failed { token, error, definite: false };
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use ottla_core::types::TopicPartition;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    fn delivered(token: u64) -> Event {
        Event::Delivered { token, partition: TopicPartition::new("t", 0), offset: None }
    }

    /// Writes what the kernel takes now.
    async fn write(sockets: &mut BTreeMap<ConnId, Socket>) {
        poll_fn(|cx| Poll::Ready(sockets.values_mut().try_for_each(|it| it.poll_write(cx)))).await.expect("it is open");
    }

    #[tokio::test]
    async fn a_record_has_its_fate_when_its_bytes_have_left() {
        const ALL: usize = 64 << 20;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it binds");
        let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).await.expect("it listens");
        let (mut peer, _) = listener.accept().await.expect("it was dialled");
        let mut sockets = BTreeMap::from([(ConnId(1), Socket::new(stream))]);
        let mut unsent = Unsent::new(Duration::from_secs(30));
        let second = Duration::from_secs(1);
        let (begun, mut told) = (Instant(0), Vec::new());

        sockets.values_mut().for_each(|socket| socket.send(vec![7; ALL].into()));
        unsent.hold(vec![delivered(1)], &sockets, begun);
        write(&mut sockets).await;
        assert!(unsent.release(&sockets, begun + second).is_none(), "the peer has taken nothing");
        let mut scrap = vec![0; 1 << 20];
        while told.is_empty() {
            // It may have taken all that the kernel had of ours, and wait for what it takes next.
            if let Ok(read) = tokio::time::timeout(Duration::from_millis(10), peer.read(&mut scrap)).await {
                assert!(read.expect("it comes") > 0);
            }
            write(&mut sockets).await;
            told.extend(unsent.release(&sockets, begun + second));
        }
        assert_eq!(told, [vec![delivered(1)]]);
        assert_eq!(unsent.due(), None);

        sockets.values_mut().for_each(|socket| socket.send(vec![7; ALL].into()));
        unsent.hold(vec![delivered(2), Event::Flushed { token: 3 }], &sockets, begun);
        assert_eq!(unsent.stuck(begun + 29 * second), []);
        assert_eq!(unsent.stuck(begun + 30 * second), [ConnId(1)]);
        sockets.clear();
        let told = unsent.release(&sockets, begun + 30 * second).expect("nobody waits for who is gone");
        assert!(matches!(told[..], [Event::Failed { token: 2, .. }, Event::Flushed { token: 3 }]), "{told:?}");
    }
}
